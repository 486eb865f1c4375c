"""The laws on a real S3 server: DISTMTL_TEST_S3=s3://bucket/prefix, credentials and endpoint as for any run."""

import os
import secrets
from collections.abc import Iterator

import pytest

from distmtl.store import Store, open_store
from tests.store.laws import StoreLaws

pytestmark = pytest.mark.s3
if "DISTMTL_TEST_S3" not in os.environ:
    pytest.skip("DISTMTL_TEST_S3 names no bucket", allow_module_level=True)


class TestS3(StoreLaws):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = open_store(f"{os.environ['DISTMTL_TEST_S3']}/{secrets.token_hex(6)}")
        yield store
        store.clear()
