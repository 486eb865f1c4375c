"""The laws on a real S3 server, and what only such a server can show: uploads left behind, credentials, buckets."""

import multiprocessing
import os
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store import Store, open_store
from tests.conftest import BUCKET
from tests.services.ceph import CephServer
from tests.store.laws import StoreLaws

pytestmark = pytest.mark.s3


class TestS3(StoreLaws):
    @pytest.fixture
    def store(self, s3_uri: str) -> Iterator[Store]:
        store = open_store(s3_uri)
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


def _contend(uri: str, turn: int, process: int) -> bool:
    try:
        open_store(uri).put_new(f"race/{turn}", f"process {process}".encode())
    except KeyExistsError:
        return False
    return True


def test_put_new_has_one_winner_among_processes(s3_uri: str) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        for turn in range(5):
            won = pool.starmap(_contend, [(s3_uri, turn, process) for process in range(3)], chunksize=1)
            assert sum(won) == 1
            assert open_store(s3_uri).get(f"race/{turn}") == f"process {won.index(True)}".encode()


def test_an_upload_that_is_given_up_leaves_no_parts(s3_uri: str, s3_server: CephServer) -> None:
    mine = f"<Key>{s3_uri.rpartition('/')[2]}/k</Key>"

    def write_and_stop() -> None:
        with open_store(s3_uri).writer("k") as writer:
            writer.write(bytes(20 * 2**20))
            assert mine in _uploads(s3_server)
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_and_stop()
    assert mine not in _uploads(s3_server)


def _uploads(server: CephServer) -> str:
    """The server's list of uploads that are under way."""
    with urllib.request.urlopen(server.endpoint.signed("GET", BUCKET, query="uploads=")) as answer:
        return answer.read().decode()


def test_a_large_object_goes_in_parts_and_a_created_one_does_not(s3_uri: str, s3_server: CephServer) -> None:
    store = open_store(s3_uri)
    body = os.urandom(18 * 2**20)
    store.put("put", body)
    store.put_new("new", body)
    for key, is_in_parts in (("put", True), ("new", False)):
        assert store.get_range(key, 9 * 2**20, 2**20) == body[9 * 2**20 : 10 * 2**20]
        url = s3_server.endpoint.signed("GET", BUCKET, f"{s3_uri.rpartition('/')[2]}/{key}")
        with urllib.request.urlopen(url) as answer:
            # An object's tag ends in the number of its parts. This server ignores the condition of an upload in parts.
            assert ("-" in answer.headers["ETag"]) == is_in_parts


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_SECRET_ACCESS_KEY", "hunter2", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID", "nobody", "InvalidAccessKeyId"),
    ],
)
def test_wrong_credentials_say_which(
    s3_uri: str, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    store = open_store(s3_uri)
    for operation in (
        lambda: store.get("k"),
        lambda: store.put("k", b""),
        lambda: store.put_new("k", b""),
        lambda: store.put("k", bytes(2**21)),
        store.list,
        store.list_folders,
        lambda: store.delete(["k"]),
    ):
        with pytest.raises(StoreError, match=said) as error:
            operation()
        assert name in error.value.remedy
        assert "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)
    with pytest.raises(StoreError, match="403"):  # the server says no more to this
        store.size("k")


def test_a_bucket_that_is_not_there_is_not_a_missing_object(s3_uri: str) -> None:
    store = open_store("s3://distmtl-no-such-bucket/a")
    for operation in (lambda: store.get("k"), lambda: store.put("k", b""), store.list, store.list_folders):
        with pytest.raises(StoreError, match="NoSuchBucket") as error:
            operation()
        assert not isinstance(error.value, KeyMissingError)
        assert "Create the bucket" in error.value.remedy


def test_a_profile_of_the_credentials_file(s3_uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keys = os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]
    (tmp_path / "credentials").write_text("[team]\naws_access_key_id = {}\naws_secret_access_key = {}\n".format(*keys))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_PROFILE", "team")
    store = open_store(s3_uri)
    store.put("k", b"x")
    assert store.get("k") == b"x"


def test_the_endpoint_of_s3_alone(s3_uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", os.environ["AWS_ENDPOINT_URL"])
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    assert open_store(s3_uri).size("k") is None
