"""Any other scheme, through an installed fsspec file system (hdfs, sftp, smb, dbfs ...).

Objects are written under a temporary name and then moved, so that a killed writer shows nothing; whether the move is
atomic is up to the file system.

Create-only puts are the weak point. fsspec promises none: some of its file systems ignore ``mode="create"``, others
look first and write then. Threads of one process exclude each other here by a lock; between processes an object that
is already there is always respected, but two that put the same key at the same moment may both succeed, and the later
one stands. Where several machines may start the same run at once, use one of the other stores.
"""

import contextlib
import secrets
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import IO, Any

import fsspec
from fsspec.core import url_to_fs

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store.address import TEMPORARY, check_key, check_prefix, join, redact
from distmtl.store.base import BytesLike, Entry, Writer

_CREATING = threading.Lock()


class FsspecStore:
    """A folder of an fsspec file system."""

    def __init__(self, root: str, prefix: str = "") -> None:
        self._root = root.rstrip("/")
        self._prefix = prefix
        with self._errors("opened", ""):
            self._open()

    def __repr__(self) -> str:
        return f"FsspecStore({redact(self.uri)!r})"

    @property
    def uri(self) -> str:
        """The root's URI and the prefix."""
        return join(self._root, self._prefix)

    def put(self, key: str, data: BytesLike) -> None:
        """See ``Store``."""
        with self.writer(key) as writer:
            writer.write(data)

    def put_new(self, key: str, data: BytesLike) -> None:
        """See ``Store`` and the head of this module: only threads of one process are sure to exclude each other."""
        with _CREATING:
            if self.size(key) is not None:
                raise KeyExistsError(f"'{key}' exists already.", redact(self.uri), "It was left as it is.")
            self.put(key, data)

    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        """See ``Store``."""
        system, path = self._path(key)
        folder = path.rpartition("/")[0]
        temporary = f"{folder}/{TEMPORARY}{secrets.token_hex(8)}"
        try:
            with self._errors("written", key):
                system.makedirs(folder, exist_ok=True)
                stream = system.open(temporary, "wb")
            try:
                yield _FsspecWriter(stream, self, key)
            finally:
                # Closing completes an upload even after an error, but only under the temporary name.
                with self._errors("written", key):
                    stream.close()
            with self._errors("written", key):
                _move(system, temporary, path)
        except BaseException:
            with contextlib.suppress(Exception):
                system.rm_file(temporary)
            raise

    def get(self, key: str) -> bytes:
        """See ``Store``."""
        system, path = self._path(key)
        with self._errors("read", key):
            return bytes(system.cat_file(path))

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        system, path = self._path(key)
        with self._errors("read", key):
            data = memoryview(system.cat_file(path, start=offset, end=offset + length))
        if len(data) != length:
            raise StoreError(
                f"bytes {offset} to {offset + length} of '{key}' are asked for, but it ends at {offset + len(data)}.",
                redact(self.uri),
                "The object was cut short; restore it.",
            )
        return data

    def view_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        return self.get_range(key, offset, length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See ``Store``."""
        return [self.get_range(key, offset, length) for offset, length in ranges]

    def size(self, key: str) -> int | None:
        """See ``Store``."""
        system, path = self._path(key)
        try:
            with self._errors("read", key):
                system.invalidate_cache()
                found = system.info(path)
        except KeyMissingError:
            return None
        return int(found["size"]) if found["type"] == "file" else None

    def list_folders(self, prefix: str = "") -> list[str]:
        """See ``Store``."""
        system, folder = self._locate(check_prefix(prefix, redact(self.uri)))
        try:
            with self._errors("listed", prefix):
                system.invalidate_cache()
                found = system.ls(folder, detail=True)
        except KeyMissingError:
            return []
        names = (item["name"].rstrip("/").rpartition("/")[2] for item in found if item["type"] == "directory")
        return sorted(join(prefix, name) for name in names)

    def list(self, prefix: str = "") -> list[Entry]:
        """See ``Store``."""
        system, folder = self._locate(check_prefix(prefix, redact(self.uri)))
        try:
            with self._errors("listed", prefix):
                system.invalidate_cache()
                found = system.find(folder, detail=True)
        except KeyMissingError:
            return []
        return sorted(
            Entry(join(prefix, path[len(folder) :].strip("/")), int(item["size"]), _modified(item))
            for path, item in found.items()
            if not path.rpartition("/")[2].startswith(TEMPORARY) and path != folder
        )

    def delete(self, keys: Iterable[str]) -> None:
        """See ``Store``."""
        for key in keys:
            system, path = self._path(key)
            with contextlib.suppress(KeyMissingError), self._errors("deleted", key):
                system.rm_file(path)

    def clear(self, prefix: str = "") -> None:
        """See ``Store``."""
        system, folder = self._locate(check_prefix(prefix, redact(self.uri)))
        with contextlib.suppress(KeyMissingError), self._errors("deleted", prefix):
            system.invalidate_cache()
            system.rm(folder, recursive=True)

    def at(self, prefix: str) -> "FsspecStore":
        """See ``Store``."""
        return FsspecStore(self._root, join(self._prefix, check_prefix(prefix, redact(self.uri))))

    def _open(self) -> tuple[Any, str]:
        """The file system and the root's path in it. fsspec keeps one per process and thread, also after a fork."""
        system, path = url_to_fs(self._root)
        return system, str(path).rstrip("/")

    def _path(self, key: str) -> tuple[Any, str]:
        return self._locate(check_key(key, redact(self.uri)))

    def _locate(self, key: str) -> tuple[Any, str]:
        with self._errors("opened", key):
            system, root = self._open()
        return system, join(root, join(self._prefix, key))

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        """Turn errors of fsspec into ours: its file systems raise whatever their libraries do."""
        where = redact(self.uri)
        try:
            yield
        except StoreError:
            raise
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError) as error:
            raise KeyMissingError(f"there is no '{key}'.", where, "Check the URI.") from error
        except ImportError as error:
            raise StoreError(f"the store cannot be opened: {error}.", where, "Install what it names.") from error
        except ValueError as error:
            known = ", ".join(sorted({"file", "memory", "s3", "gs", "az"} | set(fsspec.available_protocols())))
            remedy = f"Schemes that are known: {known}." if action == "opened" else "Check the URI."
            raise StoreError(f"'{key or where}' cannot be {action}: {error}.", where, remedy) from error
        except Exception as error:
            cause = redact(str(error) or type(error).__name__)
            raise StoreError(f"'{key or where}' cannot be {action}: {cause}.", where, "Check the store.") from error


class _FsspecWriter:
    """Writes under the temporary name."""

    def __init__(self, stream: IO[bytes], store: FsspecStore, key: str) -> None:
        self._stream = stream
        self._store = store
        self._key = key

    def write(self, data: BytesLike) -> None:
        """See ``Writer``."""
        with self._store._errors("written", self._key):
            self._stream.write(data)


def _move(system: Any, temporary: str, path: str) -> None:
    """Put an object in its place; file systems whose move refuses to overwrite lose the old one first."""
    try:
        system.mv(temporary, path)
    except FileExistsError:
        system.rm_file(path)
        system.mv(temporary, path)


def _modified(item: dict[str, Any]) -> datetime | None:
    for name in ("mtime", "LastModified", "last_modified", "updated", "modified"):
        found = item.get(name)
        if isinstance(found, datetime):
            return found if found.tzinfo else found.replace(tzinfo=UTC)
        if isinstance(found, int | float):
            return datetime.fromtimestamp(found, UTC)
    return None
