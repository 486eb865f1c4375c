"""Folders of the local machine, or of a file system that it mounts.

Written on ``os`` alone: obstore's local store publishes atomically too, but syncs neither files nor folders, so that a
power cut could take a committed checkpoint back.
"""

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store.address import TEMPORARY, check_key, check_prefix, join
from distmtl.store.base import BytesLike, Entry, Writer
from distmtl.store.buffers import BUFFERS
from distmtl.store.mapping import MAPPINGS, is_local

_REMEDIES = {
    errno.EACCES: "Give this user the right to read and write there, or choose another store.",
    errno.EPERM: "Give this user the right to read and write there, or choose another store.",
    errno.EROFS: "The file system is read-only; choose another store.",
    errno.ENOSPC: "The disk is full; free some space or choose another store.",
    errno.EDQUOT: "The disk quota is used up; free some space or choose another store.",
    errno.ENOTDIR: "Part of the path is a file; choose another store or move it away.",
    errno.EEXIST: "A file stands where a folder should; choose another store or move it away.",
    errno.EISDIR: "A folder stands where an object should; choose another store or move it away.",
    errno.ENAMETOOLONG: "A name is longer than the file system takes; choose shorter names.",
    errno.EOPNOTSUPP: "The file system has no hard links, which create-only puts need; choose another store.",
    errno.ENOSYS: "The file system has no hard links, which create-only puts need; choose another store.",
}


class FolderStore:
    """A folder, created when the first object is put into it.

    An object is written to a temporary file beside its place, synced, and renamed (``put``, ``writer``) or hard-linked
    (``put_new``: a link fails where the name is taken) into it; then the folder is synced.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder

    @property
    def uri(self) -> str:
        """The folder's absolute path."""
        return self._folder

    def __repr__(self) -> str:
        return f"FolderStore({self._folder!r})"

    def put(self, key: str, data: BytesLike) -> None:
        """See ``Store``."""
        with self.writer(key) as writer:
            writer.write(data)

    def put_new(self, key: str, data: BytesLike) -> None:
        """See ``Store``."""
        with self._publish(key, os.link) as writer:
            writer.write(data)

    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        """See ``Store``."""
        with self._publish(key, os.replace) as writer:
            yield writer

    def get(self, key: str) -> bytes:
        """See ``Store``."""
        path = self._path(key)
        with self._reading(key):
            return path.read_bytes()

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        return self.get_ranges(key, [(offset, length)])[0]

    def view_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        if not is_local(self._folder):
            return self.get_range(key, offset, length)
        path = self._path(key)
        with self._reading(key), path.open("rb", buffering=0) as file:
            data = MAPPINGS.view(file, offset, length)
        return self._whole(key, offset, length, data)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See ``Store``."""
        path = self._path(key)
        with self._reading(key), path.open("rb", buffering=0) as file:
            found = [_read_range(file.fileno(), offset, length) for offset, length in ranges]
        return [self._whole(key, *span, data) for span, data in zip(ranges, found, strict=True)]

    def _whole(self, key: str, offset: int, length: int, data: memoryview) -> memoryview:
        """The data, unless the object ended before them."""
        if len(data) != length:
            raise StoreError(
                f"bytes {offset} to {offset + length} of '{key}' are asked for, but it ends at {offset + len(data)}.",
                self.uri,
                "The object was cut short; restore it.",
            )
        return data

    def size(self, key: str) -> int | None:
        """See ``Store``."""
        path = self._path(key)
        try:
            with self._reading(key):
                status = path.stat()
        except KeyMissingError:
            return None
        return None if stat.S_ISDIR(status.st_mode) else status.st_size

    def list_folders(self, prefix: str = "") -> list[str]:
        """See ``Store``."""
        check_prefix(prefix, self.uri)
        with self._reading(prefix):
            return sorted(join(prefix, item.name) for item in _scan(join(self._folder, prefix)) if item.is_dir())

    def list(self, prefix: str = "") -> list[Entry]:
        """See ``Store``."""
        check_prefix(prefix, self.uri)
        with self._reading(prefix):
            return sorted(_walk(join(self._folder, prefix), prefix))

    def delete(self, keys: Iterable[str]) -> None:
        """See ``Store``. Folders that become empty go too."""
        emptied: set[Path] = set()
        for key in keys:
            path = self._path(key)
            with self._writing(key), contextlib.suppress(FileNotFoundError, NotADirectoryError):
                path.unlink()
                emptied.add(path.parent)
        for folder in emptied:
            self._prune(folder)

    def clear(self, prefix: str = "") -> None:
        """See ``Store``."""
        check_prefix(prefix, self.uri)
        folder = Path(self._folder, prefix)
        with self._writing(prefix), contextlib.suppress(FileNotFoundError):
            shutil.rmtree(folder)
            self._prune(folder.parent)

    def at(self, prefix: str) -> "FolderStore":
        """See ``Store``."""
        return FolderStore(join(self._folder, check_prefix(prefix, self.uri)))

    def _path(self, key: str) -> Path:
        return Path(self._folder, check_key(key, self.uri))

    @contextmanager
    def _publish(self, key: str, place: Callable[[Path, Path], None]) -> Iterator[Writer]:
        """Open a temporary file; put it in its place when the block ends well, drop it otherwise."""
        path = self._path(key)
        with self._writing(key):
            file = _open_temporary(path.parent)
        temporary = Path(file.name)
        try:
            with file:
                yield _FolderWriter(file, lambda: self._writing(key))
                with self._writing(key):
                    os.fsync(file.fileno())
            with self._writing(key):
                place(temporary, path)
                _sync_folder(path.parent)
        finally:
            # After a rename there is nothing left to remove; after a link or an error there is.
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _prune(self, folder: Path) -> None:
        """Remove folders that hold nothing, upwards, the store's own excepted."""
        root = Path(self._folder)
        while folder != root and folder.is_relative_to(root):
            try:
                folder.rmdir()
            except OSError:
                return
            folder = folder.parent

    @contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise KeyMissingError(f"there is no '{key}'.", self.uri, "Check the URI.") from error
        except OSError as error:
            raise self._error("read", key, error) from error

    @contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if isinstance(error, FileExistsError) and error.filename2 is not None:  # From os.link, not os.mkdir.
                raise KeyExistsError(f"'{key}' exists already.", self.uri, "It was left as it is.") from error
            raise self._error("written", key, error) from error

    def _error(self, action: str, key: str, error: OSError) -> StoreError:
        remedy = _REMEDIES.get(error.errno or 0, "Check the disk and the path.")
        return StoreError(f"'{key}' cannot be {action}: {error.strerror or error}.", self.uri, remedy)


class _FolderWriter:
    """Writes to the temporary file."""

    def __init__(self, file: FileIO, errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._file = file
        self._errors = errors

    def write(self, data: BytesLike) -> None:
        """See ``Writer``."""
        rest = memoryview(data).cast("B")
        with self._errors():
            while rest:  # The kernel takes at most 2 GiB at a time.
                rest = rest[self._file.write(rest) :]


def _open_temporary(folder: Path) -> FileIO:
    """A new temporary file in a folder that is created where it is missing.

    A simultaneous ``delete`` may take the empty folder away again before the file stands in it; hence the retries.
    """
    temporary = folder / f"{TEMPORARY}{os.getpid()}-{secrets.token_hex(8)}"
    for _ in range(100):
        try:
            return temporary.open("xb", buffering=0)
        except FileNotFoundError:
            _make_folder(folder)
    raise OSError(errno.ENOENT, "the folder keeps being removed", str(folder))


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents durably."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileNotFoundError:
        return  # The parent was removed in between; the caller tries again.
    except FileExistsError:
        if not folder.is_dir():
            raise
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power cut."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return  # Everything in it was deleted since.
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_range(descriptor: int, offset: int, length: int) -> memoryview:
    """Bytes of an open file; fewer than asked for only where it ends."""
    data = BUFFERS.take(length).data
    done = 0
    while done < length:  # The kernel gives at most 2 GiB at a time.
        read = os.preadv(descriptor, [data[done:]], offset + done)
        if not read:
            break
        done += read
    return data[:done]


def _scan(folder: str) -> Iterator["os.DirEntry[str]"]:
    """What a folder shows: no temporary files; nothing where there is no folder."""
    try:
        with os.scandir(folder) as items:
            yield from (item for item in items if not item.name.startswith(TEMPORARY))
    except (FileNotFoundError, NotADirectoryError):
        return


def _walk(folder: str, prefix: str) -> Iterator[Entry]:
    for item in _scan(folder):
        key = join(prefix, item.name)
        if item.is_dir():
            yield from _walk(item.path, key)
            continue
        try:
            status = item.stat()
        except FileNotFoundError:
            continue  # Deleted since the folder was read.
        yield Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
