"""A store that fails: after a number of writes or bytes, for a key, or by cutting objects short."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from distmtl.errors import StoreError
from distmtl.store import Entry, Store, Writer
from distmtl.store.base import BytesLike


class Killed(BaseException):
    """The process dies here: nothing after it runs, not even what catches Exception."""


@dataclass
class Faults:
    """What goes wrong, shared by a store and its sub-stores.

    Attributes:
        on_write: Called with the key before every operation that changes the store; may raise.
        on_written: Called with the key after it; may raise: the answer is lost.
        on_bytes: Called with the bytes written so far by all writers; may raise.
        cut: Keys whose objects lose their last byte at the store.
        listings: How many listing calls there were.
        reads: How many reads there were.
    """

    on_write: Callable[[str], None] = lambda key: None
    on_written: Callable[[str], None] = lambda key: None
    on_bytes: Callable[[int], None] = lambda count: None
    cut: Callable[[str], bool] = lambda key: False
    written: int = 0
    listings: int = 0
    reads: int = 0
    keys: list[str] = field(default_factory=list)

    def change(self, key: str) -> None:
        self.keys.append(key)
        self.on_write(key)


class FaultyStore:
    """Wraps a store."""

    def __init__(self, inner: Store, faults: Faults, prefix: str = "") -> None:
        self._inner = inner
        self._faults = faults
        self._prefix = prefix

    @property
    def uri(self) -> str:
        return self._inner.uri

    def put(self, key: str, data: BytesLike) -> None:
        self._change(key, lambda: self._inner.put(key, data))

    def put_new(self, key: str, data: BytesLike) -> None:
        self._change(key, lambda: self._inner.put_new(key, data))

    @contextmanager
    def writer(self, key: str) -> Iterator[Writer]:
        self._faults.change(self._prefix + key)
        with self._inner.writer(key) as writer:
            yield _FaultyWriter(writer, self._faults)
        if self._faults.cut(self._prefix + key):
            self._inner.put(key, self._inner.get(key)[:-1])
        self._faults.on_written(self._prefix + key)

    def get(self, key: str) -> bytes:
        self._faults.reads += 1
        return self._inner.get(key)

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        self._faults.reads += 1
        return self._inner.get_range(key, offset, length)

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        self._faults.reads += 1
        return self._inner.get_ranges(key, ranges)

    def size(self, key: str) -> int | None:
        return self._inner.size(key)

    def list_folders(self, prefix: str = "") -> list[str]:
        self._faults.listings += 1
        return self._inner.list_folders(prefix)

    def list(self, prefix: str = "") -> list[Entry]:
        self._faults.listings += 1
        return self._inner.list(prefix)

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._change(key, lambda key=key: self._inner.delete([key]))

    def clear(self, prefix: str = "") -> None:
        for entry in self._inner.list(prefix):
            self._change(entry.key, lambda key=entry.key: self._inner.delete([key]))
        self._inner.clear(prefix)

    def at(self, prefix: str) -> "FaultyStore":
        return FaultyStore(self._inner.at(prefix), self._faults, f"{self._prefix}{prefix}/")

    def _change(self, key: str, action: Callable[[], None]) -> None:
        self._faults.change(self._prefix + key)
        action()
        self._faults.on_written(self._prefix + key)


class _FaultyWriter:
    def __init__(self, inner: Writer, faults: Faults) -> None:
        self._inner = inner
        self._faults = faults

    def write(self, data: BytesLike) -> None:
        for start in range(0, len(data), 1000):
            part = data[start : start + 1000]
            self._faults.on_bytes(self._faults.written)
            self._inner.write(part)
            self._faults.written += len(part)


def outage(key: str = "") -> StoreError:
    return StoreError(f"'{key}' cannot be written: 503.", "test", "Wait.")
