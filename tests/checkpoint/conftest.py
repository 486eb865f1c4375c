"""A run in memory, and shorthands for saving into it."""

import secrets
from collections.abc import Iterator

import pytest

from distmtl.checkpoint.run import RunStore, open_run
from distmtl.store import open_store


@pytest.fixture
def run() -> Iterator[RunStore]:
    store = open_store(f"memory://{secrets.token_hex(6)}")
    yield open_run(store, "a-run")
    store.clear()
