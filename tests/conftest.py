"""The services that tests of several packages share."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.ceph import CephServer
from tests.services.fault_proxy import FaultProxy

BUCKET = "distmtl-tests"


@pytest.fixture(scope="session")
def s3_server() -> Iterator[CephServer]:
    """An S3 server of this session's own, with a bucket. Where it cannot start, the tests that need it fail."""
    with CephServer() as server:
        server.endpoint.create_bucket(BUCKET)
        yield server


@pytest.fixture
def s3_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings of S3 but those of the test."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, os.devnull)


@pytest.fixture
def s3_uri(s3_server: CephServer, s3_environment: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """An empty prefix on the server; this process and its children find it by their environment."""
    monkeypatch.setenv("DISTMTL_CACHE_DIR", str(tmp_path / "block-cache"))
    for name, value in s3_server.endpoint.environment().items():
        monkeypatch.setenv(name, value)
    return f"s3://{BUCKET}/{secrets.token_hex(6)}"


@pytest.fixture
def s3_proxy(s3_server: CephServer, s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """The way to ``s3_uri`` leads through this proxy."""
    with FaultProxy(s3_server.endpoint) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.endpoint.url)
        yield proxy
