"""The laws, for every kind of store that needs no server."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from distmtl.store import Store, open_store
from tests.store.laws import StoreLaws


class TestFolder(StoreLaws):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(f"{tmp_path}/not/there yet")


class TestMemory(StoreLaws):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store(f"memory://{secrets.token_hex(4)}")
        yield store
        store.clear()


class TestMemoryPrefix(StoreLaws):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        name = secrets.token_hex(4)
        open_store(f"memory://{name}").put("deep/prefixed/not mine", b"")
        store = open_store(f"memory://{name}/deep/prefix")
        yield store
        store.clear()


class TestFsspec(StoreLaws):
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return open_store(f"local://{tmp_path}/not/there yet")
