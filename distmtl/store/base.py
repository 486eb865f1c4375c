"""The store protocol: immutable bytes under string keys.

A key is one or more parts joined by "/", relative to the store's URI, which it can never leave. What every store
promises, whatever stands behind it (``tests/store/laws.py`` holds them to it):

* An object is visible whole or not at all: ``put``, ``put_new`` and ``writer`` publish at their very end, and a killed
  process leaves nothing that ``get`` or ``list`` shows.
* Of any number of simultaneous ``put_new`` of one key, exactly one succeeds. (Weaker for fsspec schemes: see
  ``fsspec_store``.) After a lost answer the retried request may find its own object and raise KeyExistsError:
  ``claim`` settles that for bodies that name their writer.
* What was put is listed and read by everybody from then on.
* Errors are StoreErrors that name the URI, the key and the cause, never credentials.
* A store can be pickled: it opens itself again from its URI. It can be used after a fork, save an object store that
  was used before it: its network threads are gone, and it raises.
"""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

BytesLike = bytes | bytearray | memoryview
"""What can be written: contiguous bytes."""


@dataclass(frozen=True, order=True)
class Entry:
    """An object in a listing.

    Attributes:
        key: Its key, relative to the store that listed it.
        size: Its size in bytes.
        modified: When it was put, by the store's clock; None where the store does not say.
    """

    key: str
    size: int
    modified: datetime | None


class Writer(Protocol):
    """An object that is being written; it becomes visible when the ``with`` block ends well."""

    def write(self, data: BytesLike) -> None:
        """Append bytes. The buffer may be reused as soon as this returns.

        Raises:
            StoreError: The store refused them. The object will not become visible.
        """
        ...


class Store(Protocol):
    """Keys and bytes at a URI. Every method may raise StoreError; threads may share a store."""

    @property
    def uri(self) -> str:
        """Where it is; ``open_store(store.uri)`` opens the same objects."""
        ...

    def put(self, key: str, data: BytesLike) -> None:
        """Put an object, replacing one of the same key."""
        ...

    def put_new(self, key: str, data: BytesLike) -> None:
        """Put an object unless there is one already.

        Raises:
            KeyExistsError: The key is taken; its object is untouched.
        """
        ...

    def writer(self, key: str) -> AbstractContextManager[Writer]:
        """Stream an object of unknown size, replacing one of the same key.

        If the ``with`` block raises, whatever was sent is dropped and the key is as it was before.
        """
        ...

    def get(self, key: str) -> bytes:
        """All bytes of an object.

        Raises:
            KeyMissingError: There is none.
        """
        ...

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        """Exactly ``length`` bytes from ``offset`` on, in one request and without a copy where the store can.

        Raises:
            KeyMissingError: There is no such object.
            StoreError: The object ends before ``offset + length``.
        """
        ...

    def view_range(self, key: str, offset: int, length: int) -> memoryview:
        """As :meth:`get_range`, but on a disk of this machine the bytes stay where they are, uncopied.

        For large objects that never change: a view shows what is there when it is looked at.

        Raises:
            KeyMissingError: There is no such object.
            StoreError: The object ends before ``offset + length``.
        """
        ...

    def get_ranges(self, key: str, ranges: Sequence[tuple[int, int]]) -> list[memoryview]:
        """Several ``(offset, length)`` of one object, fetched concurrently where the store can.

        Raises:
            KeyMissingError: There is no such object.
            StoreError: The object ends before one of them does.
        """
        ...

    def size(self, key: str) -> int | None:
        """Size of an object in bytes, or None where there is none."""
        ...

    def list_folders(self, prefix: str = "") -> list[str]:
        """Keys of the folders directly under a folder, in order.

        One without objects may be named too: folders on disk outlive what was in them.
        """
        ...

    def list(self, prefix: str = "") -> list[Entry]:
        """Every object under a folder of the store, at any depth, in key order; empty where there is none."""
        ...

    def delete(self, keys: Iterable[str]) -> None:
        """Delete objects; a key without one is passed over."""
        ...

    def clear(self, prefix: str = "") -> None:
        """Delete everything under a folder, with what killed writers left there unseen."""
        ...

    def at(self, prefix: str) -> "Store":
        """The folder as a store of its own, over the same connections."""
        ...
