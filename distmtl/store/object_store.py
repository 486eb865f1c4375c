"""Object stores (S3, Google Cloud Storage, Azure) and memory, through obstore.

A multipart upload that was killed stays invisible, but its parts are kept and billed: give the bucket a lifecycle rule
that aborts incomplete uploads after a few days.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store.address import Address, check_key, check_prefix, join
from distmtl.store.base import BytesLike, Entry, Writer
from distmtl.store.cloud import Client, connect

PART_BYTES = 8 * 2**20
PARTS_IN_FLIGHT = 8
"""A writer holds at most ``PART_BYTES * PARTS_IN_FLIGHT`` bytes; then ``write`` waits."""
RANGES_IN_FLIGHT = 8


class _Connection:
    """A client of one bucket, opened on first use and looked up again after a fork."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._opened: tuple[int, Client] | None = None

    def client(self) -> Client:
        """The client that belongs to this process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = os.getpid(), connect(self._address)
        return self._opened[1]


class ObjectStore:
    """A prefix of a bucket, a container or a memory store."""

    def __init__(self, address: Address, connection: _Connection | None = None) -> None:
        self._address = address
        self._connection = connection or _Connection(address)

    def __reduce__(self) -> tuple[type["ObjectStore"], tuple[Address]]:
        return ObjectStore, (self._address,)

    def __repr__(self) -> str:
        return f"ObjectStore({self.uri!r})"

    @property
    def uri(self) -> str:
        """scheme://bucket/prefix."""
        return self._address.uri

    def put(self, key: str, data: BytesLike) -> None:
        """See ``Store``."""
        path = self._path(key)
        with self._errors("written", key):
            obstore.put(
                self._connection.client(),
                path,
                bytes(data),  # The memory store keeps what it is given.
                chunk_size=PART_BYTES,
                max_concurrency=PARTS_IN_FLIGHT,
            )

    def put_new(self, key: str, data: BytesLike) -> None:
        """See ``Store``. Always a single request: some stores ignore the condition on multipart uploads."""
        path = self._path(key)
        with self._errors("written", key):
            obstore.put(self._connection.client(), path, bytes(data), mode="create", use_multipart=False)

    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        """See ``Store``."""
        path = self._path(key)
        with self._errors("written", key):
            stream = obstore.open_writer(
                self._connection.client(), path, buffer_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT
            )
        try:
            yield _ObjectWriter(stream.write, lambda error: self._raise("written", key, error))
        except BaseException as error:
            stream.__exit__(type(error), error, error.__traceback__)  # Aborts the upload.
            raise
        with self._errors("written", key):
            stream.close()

    def get(self, key: str) -> bytes:
        """See ``Store``."""
        path = self._path(key)
        with self._errors("read", key):
            return bytes(obstore.get(self._connection.client(), path).bytes())

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        path = self._path(key)
        if length == 0:
            return self._nothing_of(key)
        with self._errors("read", key):
            data = memoryview(obstore.get_range(self._connection.client(), path, start=offset, length=length))
        if len(data) != length:
            raise StoreError(
                f"bytes {offset} to {offset + length} of '{key}' are asked for, but it ends at {offset + len(data)}.",
                self.uri,
                "The object was cut short; restore it.",
            )
        return data

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See ``Store``.

        One request per range. obstore's own ``get_ranges`` merges neighbours into one large request, which one
        connection then carries, and panics where the object ends before a merged range does.
        """
        if len(ranges) < 2:
            return [self.get_range(key, offset, length) for offset, length in ranges]
        with ThreadPoolExecutor(min(len(ranges), RANGES_IN_FLIGHT)) as pool:
            return list(pool.map(lambda asked: self.get_range(key, *asked), ranges))

    def size(self, key: str) -> int | None:
        """See ``Store``."""
        path = self._path(key)
        try:
            with self._errors("read", key):
                return obstore.head(self._connection.client(), path)["size"]
        except KeyMissingError:
            return None

    def list_folders(self, prefix: str = "") -> list[str]:
        """See ``Store``."""
        folder = self._prefix(prefix)
        with self._errors("listed", prefix):
            found = obstore.list_with_delimiter(self._connection.client(), folder or None)
        return sorted(self._key(path) for path in found["common_prefixes"])

    def list(self, prefix: str = "") -> list[Entry]:
        """See ``Store``."""
        folder = self._prefix(prefix)
        with self._errors("listed", prefix):
            pages = obstore.list(self._connection.client(), folder or None, chunk_size=1000)
            return sorted(
                Entry(self._key(item["path"]), item["size"], item["last_modified"]) for page in pages for item in page
            )

    def delete(self, keys: Iterable[str]) -> None:
        """See ``Store``."""
        paths = {key: self._path(key) for key in keys}
        if not paths:
            return
        try:
            with self._errors("deleted", next(iter(paths))):
                obstore.delete(self._connection.client(), list(paths.values()))
        except KeyMissingError:
            # Some stores refuse the whole batch for one missing key: go through them singly.
            for key, path in paths.items():
                try:
                    with self._errors("deleted", key):
                        obstore.delete(self._connection.client(), path)
                except KeyMissingError:
                    continue

    def clear(self, prefix: str = "") -> None:
        """See ``Store``. Parts of killed multipart uploads are left to the bucket's lifecycle rule."""
        self.delete(entry.key for entry in self.list(prefix))

    def at(self, prefix: str) -> "ObjectStore":
        """See ``Store``."""
        return ObjectStore(self._address.at(check_prefix(prefix, self.uri)), self._connection)

    def _path(self, key: str) -> str:
        return join(self._address.path, check_key(key, self.uri))

    def _prefix(self, prefix: str) -> str:
        return join(self._address.path, check_prefix(prefix, self.uri))

    def _key(self, path: str) -> str:
        return path[len(self._address.path) :].strip("/") if self._address.path else path.strip("/")

    def _nothing_of(self, key: str) -> memoryview:
        """An empty range: stores refuse to be asked for one."""
        if self.size(key) is None:
            raise KeyMissingError(f"there is no '{key}'.", self.uri, "Check the URI.")
        return memoryview(b"")

    @contextmanager
    def _errors(self, action: str, key: str) -> Iterator[None]:
        try:
            yield
        except (BaseError, OSError, ValueError) as error:
            self._raise(action, key, error)

    def _raise(self, action: str, key: str, error: Exception) -> NoReturn:
        """Turn an error of the client into ours."""
        if isinstance(error, AlreadyExistsError):
            raise KeyExistsError(f"'{key}' exists already.", self.uri, "It was left as it is.") from error
        if isinstance(error, FileNotFoundError) and action != "written":
            raise KeyMissingError(f"there is no '{key}'.", self.uri, "Check the URI.") from error
        remedy = "Check the network, the endpoint and the bucket's name."
        if isinstance(error, PermissionDeniedError | UnauthenticatedError):
            remedy = "Check the credentials in the environment and their rights on this bucket."
        cause = str(error).split("\n\nDebug source", 1)[0].rstrip(".")
        raise StoreError(f"'{key}' cannot be {action}: {cause}.", self.uri, remedy) from error


class _ObjectWriter:
    """Feeds a multipart upload."""

    def __init__(self, write: Callable[[BytesLike], int], fail: Callable[[Exception], NoReturn]) -> None:
        self._write = write
        self._fail = fail

    def write(self, data: BytesLike) -> None:
        """See ``Writer``."""
        view = memoryview(data).cast("B")
        try:
            # obstore keeps the buffer that it is given until the part is uploaded; callers may reuse theirs at once.
            for start in range(0, len(view), PART_BYTES):
                self._write(bytes(view[start : start + PART_BYTES]))
        except (BaseError, OSError, ValueError) as error:
            self._fail(error)
