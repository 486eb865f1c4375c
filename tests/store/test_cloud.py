"""Settings of object stores, as far as they can be seen without a server."""

import subprocess
import sys
from pathlib import Path

import pytest

from distmtl.errors import StoreError
from distmtl.store import open_store


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_PROFILE", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))


def test_opening_contacts_nobody() -> None:
    assert open_store("s3://bucket/prefix").at("run").uri == "s3://bucket/prefix/run"


def test_a_profile_without_boto3_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "team")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(StoreError, match=r"distmtl\[s3\]"):
        open_store("s3://bucket").size("a")


def test_a_plain_http_endpoint_is_allowed_and_failures_name_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
    monkeypatch.setattr("distmtl.store.connection.FIRST_PATIENCE_S", 0)
    with pytest.raises(StoreError, match="'some/key' cannot be read") as error:
        open_store("s3://bucket/prefix").get("some/key")
    assert error.value.where == "s3://bucket/prefix"
    assert "hunter2" not in str(error.value)
    assert "HTTPS" not in str(error.value)


def test_a_bad_setting_is_an_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "")
    monkeypatch.setenv("AWS_CONDITIONAL_PUT", "nonsense")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store("s3://bucket").size("a")


def test_the_store_loads_no_torch() -> None:
    loaded = "assert not {'torch', 'obstore', 'fsspec'} & set(sys.modules)"
    program = f"import sys, distmtl.store as s; s.open_store('runs'); {loaded}"
    subprocess.run([sys.executable, "-c", program], check=True)
