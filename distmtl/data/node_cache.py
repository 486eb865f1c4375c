"""Blocks of remote sources kept on a node's disk, where all its processes find them.

Under the cache's folder::

    <xx>/<xxh3>-<length>.block           a block, named by its content: it is never out of date
    <xx>/<xxh3>-<length>.<random>.part   one that is being written; its writer holds a lock on it
    locks/<nnn>                          locked by whoever fetches a block whose name falls on it
    size                                 bytes of all blocks and parts, under a lock on itself

Locks are ``flock``: the kernel takes them from a process that dies. A block appears by a rename, whole or not at all,
and is compared with its hash whenever it is read, so a process may be killed at any moment. Whatever is wrong with the
folder, a block is still read, only not kept. Nothing is deleted or counted but files of the names above.
"""

import os
import re
import secrets
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from fcntl import LOCK_EX, LOCK_NB, flock
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

import xxhash

from distmtl.store.base import BytesLike
from distmtl.store.buffers import BUFFERS

LIMIT_BYTES = 16 * 2**30
"""What a cache may hold unless it is told otherwise."""

TURN_S = 60.0
"""How long a process waits for another that fetches the same block, before it fetches it too: that one may hang."""

SIZE_TURN_S = 5.0
"""How long a process waits for the accounts; then it does not keep its block."""

PAUSE_S = 60.0
"""How long nothing is kept after the disk has refused a block."""

_LOCKS = 4096
_SLACK = 16
"""An eviction frees one part in so many more than it must, so that not every block needs one."""

_FOLDER = re.compile(r"[0-9a-f]{2}")
_BLOCK = re.compile(r"[0-9a-f]{16}-[0-9]+\.block")
_PART = re.compile(r"[0-9a-f]{16}-[0-9]+\.[0-9a-f]{16}\.part")


def default_folder() -> Path:
    """``DISTMTL_CACHE_DIR``, else ``distmtl/blocks`` in the user's cache folder."""
    given = os.environ.get("DISTMTL_CACHE_DIR")
    if given:
        return Path(given)
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")  # noqa: PTH111 - Path's raises
    if home.startswith("~"):  # this user has no home
        home = tempfile.gettempdir()
    return Path(home) / "distmtl" / "blocks"


class NodeCache:
    """A folder of blocks with a limit; threads and processes may share it. Nothing is touched before its first use.

    Args:
        folder: Where; on a local disk.
        limit_bytes: Bytes that blocks may have in all; the least recently used leave first.
    """

    def __init__(self, folder: Path | str, limit_bytes: int = LIMIT_BYTES) -> None:
        self.folder = Path(folder).expanduser().absolute()
        self.limit_bytes = limit_bytes
        self._warned = False
        self._idle_until = 0.0

    def __reduce__(self) -> tuple[Any, ...]:
        return NodeCache, (self.folder, self.limit_bytes)

    def get(self, xxh3: int, length: int, fetch: Callable[[], BytesLike]) -> BytesLike:
        """A block; fetched if it is not here, by one thread or process of this node while the others wait for it.

        Args:
            xxh3: Hash of its bytes.
            length: Their number.
            fetch: Gives the bytes, compared with their hash. What it raises passes through, and nothing is kept.
        """
        path = self.folder / f"{xxh3 >> 56:02x}" / f"{xxh3:016x}-{length}.block"
        found = self._find(path, xxh3, length)
        if found is not None:
            return found
        with self._turn(xxh3):
            found = self._find(path, xxh3, length)  # by whoever had the turn before
            if found is not None:
                return found
            data = fetch()
            self._keep(path, data)
            return data

    def problem(self) -> str | None:
        """Why blocks cannot be kept here, as a clause, or None. Creates the folder."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.folder):
                return None
        except OSError as error:
            return error.strerror or str(error)

    def _find(self, path: Path, xxh3: int, length: int) -> memoryview | None:
        data = BUFFERS.take(length).data
        try:
            with path.open("rb", buffering=0) as file:
                whole = os.fstat(file.fileno()).st_size == length == file.readinto(data)
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(error)
            return None
        if whole and xxhash.xxh3_64_intdigest(data) == xxh3:
            with suppress(OSError):
                os.utime(path)  # used just now
            return data
        _remove(path)
        return None

    @contextmanager
    def _turn(self, xxh3: int) -> Iterator[None]:
        """Hold the lock that a block falls on; where there can be none, go on without it."""
        lock = self._open("locks", f"{xxh3 % _LOCKS:03x}")
        try:
            if lock is not None:
                _lock(lock, TURN_S)
            yield
        finally:
            if lock is not None:
                lock.close()

    def _open(self, *names: str) -> FileIO | None:
        path = self.folder.joinpath(*names)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return FileIO(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        except OSError as error:
            self._warn(error)
            return None

    def _keep(self, path: Path, data: BytesLike) -> None:
        """Write a block, if there is or can be made room for it."""
        length = memoryview(data).nbytes
        if length > self.limit_bytes or time.monotonic() < self._idle_until:
            return
        part = path.with_name(f"{path.stem}.{secrets.token_hex(8)}.part")
        try:
            file = self._reserve(part, length)
            if file is None:
                return
            with file:
                rest = memoryview(data).cast("B")
                while rest:
                    rest = rest[file.write(rest) :]
                part.replace(path)
        except OSError as error:
            self._idle_until = time.monotonic() + PAUSE_S
            self._warn(error)
            _remove(part)

    def _reserve(self, part: Path, length: int) -> FileIO | None:
        """An empty file that counts as ``length`` bytes, locked; None if the accounts cannot be had."""
        accounts = self._open("size")
        if accounts is None:
            return None
        with accounts:
            if not _lock(accounts, SIZE_TURN_S):
                return None
            total = _read_total(accounts)
            if total is None or total + length > self.limit_bytes:
                total = self._make_room(length)
            # Before the file is made: a process that dies in between has counted too much, and the next scan mends it.
            _write_total(accounts, total + length)
            part.parent.mkdir(exist_ok=True)
            if part.parent.is_symlink():  # it leads out of the cache
                return None
            file = FileIO(os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), "r+")
            try:
                _lock(file, 0.0)
                file.truncate(length)
            except BaseException:
                file.close()
                raise
            return file

    def _make_room(self, length: int) -> int:
        """Remove what dead processes left, and old blocks until ``length`` bytes fit; returns the bytes that stay."""
        total = 0
        blocks = []
        for item in self._scan():
            if item.is_part and _is_dead(item.path):
                _remove(item.path)
                continue
            total += item.size
            if not item.is_part:
                blocks.append(item)
        if total + length <= self.limit_bytes:
            return total
        room = max(0, self.limit_bytes - length - self.limit_bytes // _SLACK)
        for item in sorted(blocks, key=lambda item: item.used):
            if total <= room:
                break
            _remove(item.path)
            total -= item.size
        return total

    def _scan(self) -> Iterator["_Item"]:
        """Every block and part, and nothing else that may lie here."""
        for folder in os.scandir(self.folder):
            if not _FOLDER.fullmatch(folder.name) or not folder.is_dir(follow_symlinks=False):
                continue
            for entry in os.scandir(folder):
                is_part = _PART.fullmatch(entry.name) is not None
                if not (is_part or _BLOCK.fullmatch(entry.name)) or not entry.is_file(follow_symlinks=False):
                    continue
                with suppress(FileNotFoundError):  # removed meanwhile
                    status = entry.stat()
                    yield _Item(Path(entry.path), status.st_size, status.st_mtime_ns, is_part)

    def _warn(self, error: OSError) -> None:
        """Once per process and cache."""
        if not self._warned:
            self._warned = True
            cause = error.strerror or error
            warnings.warn(
                f"{self.folder}: blocks cannot be kept here ({cause}); they are fetched anew whenever they are needed. "
                "Set launch.cache.folder or DISTMTL_CACHE_DIR to a folder with room, or launch.cache.bytes to 0.",
                RuntimeWarning,
                stacklevel=2,
            )


class _Item(NamedTuple):
    """A file of the cache: when it was last used, in nanoseconds, and whether it is still being written."""

    path: Path
    size: int
    used: int
    is_part: bool


def _lock(file: FileIO, wait_s: float) -> bool:
    """Lock an open file; False if another holds it all the time, or the file system has no locks."""
    end = time.monotonic() + wait_s
    pause_s = 0.001
    while True:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= end:
                return False
        except OSError:
            return False
        else:
            return True
        time.sleep(pause_s)
        pause_s = min(2 * pause_s, 0.02)


def _is_dead(part: Path) -> bool:
    """Whether nobody writes a part any more."""
    try:
        with part.open("rb") as file:
            flock(file, LOCK_EX | LOCK_NB)
    except OSError:
        return False
    return True


def _remove(path: Path) -> None:
    """Remove a file of the cache, unless its folder is a link that leads out of it."""
    if not path.parent.is_symlink():
        with suppress(OSError):
            path.unlink()


def _read_total(accounts: FileIO) -> int | None:
    """Bytes of the cache as the last process left them; None if that cannot be read."""
    text = os.pread(accounts.fileno(), 32, 0)
    return int(text) if text.isdigit() else None


def _write_total(accounts: FileIO, total: int) -> None:
    os.pwrite(accounts.fileno(), b"%032d" % total, 0)
