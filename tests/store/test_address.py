"""URIs and keys."""

import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.errors import StoreError
from distmtl.store import open_store
from distmtl.store.address import check_key, join, parse_uri, redact


@pytest.mark.parametrize(
    ("uri", "scheme", "root", "path"),
    [
        ("/data/runs/", "file", "", "/data/runs"),
        ("file:///data/my%20runs", "file", "", "/data/my runs"),
        ("file://localhost/data", "file", "", "/data"),
        ("memory://name", "memory", "name", ""),
        ("memory://name/a/b/", "memory", "name", "a/b"),
        ("s3://bucket/a/b", "s3", "bucket", "a/b"),
        ("s3a://bucket", "s3", "bucket", ""),
        ("gcs://bucket/a", "gs", "bucket", "a"),
        ("az://container/a", "az", "container", "a"),
        ("sftp://host/folder", "sftp", "host", "folder"),
    ],
)
def test_parse(uri: str, scheme: str, root: str, path: str) -> None:
    address = parse_uri(uri)
    assert (address.scheme, address.root, address.path) == (scheme, root, path)
    assert parse_uri(address.uri) == address


def test_relative_folders_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("runs")
    monkeypatch.chdir("/")
    store.put("k", b"x")
    assert (tmp_path / "runs" / "k").read_bytes() == b"x"
    assert store.uri == str(tmp_path / "runs")


@pytest.mark.parametrize("uri", ["", "  ", "s3://", "s3:///key", "gs://b/../c", "az://c/a//d", "file://host/folder"])
def test_refused(uri: str) -> None:
    with pytest.raises(StoreError):
        parse_uri(uri)


@pytest.mark.parametrize("uri", ["s3://key:hunter2@bucket/a", "s3://bucket/a?secret=hunter2"])
def test_credentials_are_refused_and_not_repeated(uri: str) -> None:
    with pytest.raises(StoreError, match="credentials") as error:
        parse_uri(uri)
    assert "hunter2" not in str(error.value)
    assert "hunter2" not in redact("sftp://me:hunter2@host/a?x=hunter2")


def test_an_unknown_scheme_names_those_there_are() -> None:
    with pytest.raises(StoreError, match="s3") as error:
        open_store("s4://bucket/a")
    assert pickle.loads(pickle.dumps(error.value)).what == error.value.what


@given(st.text(max_size=20))
def test_a_key_that_passes_stays_inside(key: str) -> None:
    try:
        check_key(key)
    except StoreError:
        return
    inside = Path("/root/store", key)
    assert Path("/root/store") in inside.parents
    assert ".." not in inside.parts
    assert join("a", key) == f"a/{key}"
