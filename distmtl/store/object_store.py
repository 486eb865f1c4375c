"""Object stores (S3, Google Cloud Storage, Azure) and memory, through obstore.

A multipart upload that was killed stays invisible, but its parts are kept and billed: give the bucket a lifecycle rule
that aborts incomplete uploads after a few days.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import NoReturn

import obstore
from obstore.exceptions import AlreadyExistsError

from distmtl.errors import KeyExistsError, KeyMissingError, StoreError
from distmtl.store.address import Address, check_key, check_prefix, join
from distmtl.store.base import BytesLike, Entry, Writer
from distmtl.store.cloud import Client, Purpose
from distmtl.store.connection import CLIENT_ERRORS, Connection
from distmtl.store.failure import explain

PART_BYTES = 8 * 2**20
PARTS_IN_FLIGHT = 8
"""A writer holds at most ``PART_BYTES * PARTS_IN_FLIGHT`` bytes; then ``write`` waits."""
RANGES_IN_FLIGHT = 8
SMALL_BYTES = 2**20
"""Up to which an object goes out as a request like others; a larger one is an upload."""


class ObjectStore:
    """A prefix of a bucket, a container or a memory store."""

    def __init__(self, address: Address, connection: Connection | None = None) -> None:
        self._address = address
        self._connection = connection or Connection(address)

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
        path, body = self._path(key), bytes(data)  # The memory store keeps what it is given.

        def send(client: Client) -> None:
            obstore.put(client, path, body, chunk_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT)

        with self._errors("written", key):
            self._connection.ask(send, _purpose(body))

    def put_new(self, key: str, data: BytesLike) -> None:
        """See ``Store``. Always a single request: some stores ignore the condition on multipart uploads."""
        path, body = self._path(key), bytes(data)

        def send(client: Client) -> None:
            obstore.put(client, path, body, mode="create", use_multipart=False)

        with self._errors("written", key):
            self._connection.ask(send, _purpose(body))

    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        """See ``Store``."""
        upload = _Upload(self._connection, self._path(key))
        try:
            yield _ObjectWriter(upload, lambda error: self._raise("written", key, error))
        except BaseException as error:
            upload.abort(error)
            raise
        with self._errors("written", key):
            upload.finish()

    def get(self, key: str) -> bytes:
        """See ``Store``."""
        path = self._path(key)
        with self._errors("read", key):
            return self._connection.ask(lambda client: bytes(obstore.get(client, path).bytes()))

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        path = self._path(key)
        if length == 0:
            return self._nothing_of(key)
        with self._errors("read", key):
            data = memoryview(
                self._connection.ask(lambda client: obstore.get_range(client, path, start=offset, length=length))
            )
        if len(data) != length:
            raise StoreError(
                f"bytes {offset} to {offset + length} of '{key}' are asked for, but it ends at {offset + len(data)}.",
                self.uri,
                "The object was cut short; restore it.",
            )
        return data

    def view_range(self, key: str, offset: int, length: int) -> memoryview:
        """See ``Store``."""
        return self.get_range(key, offset, length)

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
                return self._connection.ask(lambda client: obstore.head(client, path)["size"])
        except KeyMissingError:
            return None

    def list_folders(self, prefix: str = "") -> list[str]:
        """See ``Store``."""
        folder = self._prefix(prefix)
        with self._errors("listed", prefix):
            found = self._connection.ask(lambda client: obstore.list_with_delimiter(client, folder or None))
        return sorted(self._key(path) for path in found["common_prefixes"])

    def list(self, prefix: str = "") -> list[Entry]:
        """See ``Store``."""
        folder = self._prefix(prefix)

        def read(client: Client) -> list[Entry]:
            pages = obstore.list(client, folder or None, chunk_size=1000)
            return sorted(
                Entry(self._key(item["path"]), item["size"], item["last_modified"]) for page in pages for item in page
            )

        with self._errors("listed", prefix):
            return self._connection.ask(read)

    def delete(self, keys: Iterable[str]) -> None:
        """See ``Store``."""
        paths = {key: self._path(key) for key in keys}
        if not paths:
            return
        try:
            with self._errors("deleted", next(iter(paths))):
                self._connection.ask(lambda client: obstore.delete(client, [*paths.values()]))
        except KeyMissingError:
            # Some stores refuse the whole batch for one missing key: go through them singly.
            for key, path in paths.items():
                try:
                    with self._errors("deleted", key):
                        self._connection.ask(partial(_delete, path))
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
        except CLIENT_ERRORS as error:
            self._raise(action, key, error)

    def _raise(self, action: str, key: str, error: Exception) -> NoReturn:
        """Turn an error of the client into ours."""
        if isinstance(error, AlreadyExistsError):
            raise KeyExistsError(f"'{key}' exists already.", self.uri, "It was left as it is.") from error
        failure = explain(error)
        if isinstance(error, FileNotFoundError) and action != "written" and failure.code != "NoSuchBucket":
            raise KeyMissingError(f"there is no '{key}'.", self.uri, "Check the URI.") from error
        what = f"'{key}'" if key else "the store"
        raise StoreError(f"{what} cannot be {action}: {failure.cause}.", self.uri, failure.remedy) from error


def _purpose(body: bytes) -> Purpose:
    return Purpose.REQUEST if len(body) <= SMALL_BYTES else Purpose.UPLOAD


def _delete(path: str, client: Client) -> None:
    obstore.delete(client, path)


class _Upload:
    """An upload in parts that begins with the first part: less than that is one request, sent at the end."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path
        self._held = b""
        self._stream: obstore.WritableFile | None = None

    def write(self, data: bytes) -> None:
        """Append at most ``PART_BYTES``."""
        if self._stream is not None:
            self._stream.write(data)
            return
        self._held += data
        if len(self._held) >= PART_BYTES:
            # obstore repeats the parts, but not a beginning whose answer was lost.
            self._stream = self._connection.ask(self._begin, Purpose.UPLOAD)
            self._held = b""

    def finish(self) -> None:
        """Publish it."""
        if self._stream is None:
            self._connection.ask(self._put, _purpose(self._held))
        else:
            self._stream.close()

    def abort(self, error: BaseException) -> None:
        """Drop what was sent."""
        if self._stream is not None:
            self._stream.__exit__(type(error), error, error.__traceback__)

    def _put(self, client: Client) -> None:
        obstore.put(client, self._path, self._held, use_multipart=False)

    def _begin(self, client: Client) -> "obstore.WritableFile":
        stream = obstore.open_writer(client, self._path, buffer_size=PART_BYTES, max_concurrency=PARTS_IN_FLIGHT)
        try:
            stream.write(self._held)
        except BaseException as error:
            stream.__exit__(type(error), error, error.__traceback__)
            raise
        return stream


class _ObjectWriter:
    """Feeds an upload."""

    def __init__(self, upload: _Upload, fail: Callable[[Exception], NoReturn]) -> None:
        self._upload = upload
        self._fail = fail

    def write(self, data: BytesLike) -> None:
        """See ``Writer``."""
        view = memoryview(data).cast("B")
        try:
            # obstore keeps the buffer that it is given until the part is uploaded; callers may reuse theirs at once.
            for start in range(0, len(view), PART_BYTES):
                self._upload.write(bytes(view[start : start + PART_BYTES]))
        except CLIENT_ERRORS as error:
            self._fail(error)
