"""What only a folder can show: durability, leftovers, errors of the file system."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from distmtl.errors import StoreError
from distmtl.store import open_store
from distmtl.store.folder_store import FolderStore


@pytest.mark.parametrize("operation", ["put", "put_new", "writer"])
def test_file_and_folder_are_synced_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, operation: str) -> None:
    log: list[str] = []

    def record(name: str) -> None:
        real = getattr(os, name)

        def spy(first: object, *rest: object) -> object:
            path = Path(f"/proc/self/fd/{first}" if isinstance(first, int) else str(first))
            log.append(f"{name} {'folder' if path.is_dir() else 'file'}")
            return real(first, *rest)

        monkeypatch.setattr(os, name, spy)

    store = FolderStore(str(tmp_path))
    for name in ("fsync", "replace", "link"):
        record(name)
    if operation == "writer":
        with store.writer("a") as writer:
            writer.write(b"x")
    else:
        getattr(store, operation)("a", b"x")
    place = "link" if operation == "put_new" else "replace"
    assert log == ["fsync file", f"{place} file", "fsync folder"]


def test_new_folders_are_synced_into_their_parents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    real = os.fsync

    def spy(descriptor: int) -> None:
        synced.append(str(Path(f"/proc/self/fd/{descriptor}").readlink()))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", spy)
    FolderStore(f"{tmp_path}/a").put("b/c", b"x")
    assert str(tmp_path) in synced
    assert f"{tmp_path}/a" in synced
    assert f"{tmp_path}/a/b" in synced


def test_a_killed_writer_shows_nothing_and_is_cleared_away(tmp_path: Path) -> None:
    program = (
        "import os, signal\n"
        "from distmtl.store import open_store\n"
        f"with open_store({str(tmp_path)!r}).writer('a/data.bin') as writer:\n"
        "    writer.write(bytes(1000))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", program], check=False)
    assert killed.returncode == -signal.SIGKILL
    store = open_store(str(tmp_path))
    assert len(list((tmp_path / "a").iterdir())) == 1
    assert store.list() == []
    assert store.list_folders() == ["a"]
    store.clear("a")
    assert list(tmp_path.iterdir()) == []


def test_deleting_takes_empty_folders_along(tmp_path: Path) -> None:
    store = open_store(f"{tmp_path}/store")
    store.put("a/b/c", b"")
    store.put("a/d", b"")
    store.delete(["a/b/c"])
    assert store.list_folders("a") == []
    store.delete(["a/d"])
    assert list((tmp_path / "store").iterdir()) == []


def test_files_follow_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        FolderStore(str(tmp_path)).put("a", b"")
    finally:
        os.umask(before)
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o640


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("not a folder")
    store = open_store(f"{tmp_path}/runs")
    with pytest.raises(StoreError, match="move it away") as error:
        store.put("a", b"")
    assert error.value.where == f"{tmp_path}/runs"
    store = open_store(str(tmp_path))
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match="A folder stands"):
        store.put("folder", b"")


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.EACCES, "right to read and write"), (errno.EROFS, "read-only"), (errno.ENOSPC, "free some space")],
)
def test_what_the_file_system_refuses_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, remedy: str
) -> None:
    def refuse(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    with pytest.raises(StoreError, match=remedy):
        open_store(str(tmp_path)).put("a", b"x")
    assert list(tmp_path.iterdir()) == []
