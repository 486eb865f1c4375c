"""The laws on a real S3 server: DISTMTL_TEST_S3=s3://bucket/prefix, credentials and endpoint as for any run."""

import os
import secrets
from collections.abc import Iterator

import pytest

from distmtl.errors import StoreError
from distmtl.store import Store, open_store
from tests.store.laws import StoreLaws

pytestmark = pytest.mark.s3


class TestS3(StoreLaws):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store(f"{os.environ['DISTMTL_TEST_S3']}/{secrets.token_hex(6)}")
        yield store
        store.clear()

    def test_works_in_a_forked_child(self, store: Store) -> None:
        """It cannot, and says so instead of waiting for ever."""
        store.put("k", b"x")
        child = os.fork()
        if child == 0:
            try:
                store.get("k")
            except StoreError as error:
                os._exit(0 if "spawn" in error.remedy else 1)
            os._exit(2)
        assert os.waitpid(child, 0)[1] == 0
