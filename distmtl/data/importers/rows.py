"""Rows that a Python function gives, such as those of a database or of a generator."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distmtl.data.importers.base import not_empty
from distmtl.data.importers.values import Kinds, Row, flatten, in_groups, to_batches
from distmtl.errors import SourceError


@dataclass(frozen=True)
class RowsInput:
    """The dicts of an iterable: numbers, strings, bytes, dates, lists, NumPy arrays, and dicts of these.

    Attributes:
        factory: Gives the iterable, from its first row and with the same rows at every call: it is called once to find
            the types, and once for each pass.
        path: What the rows are called in messages; its name is that of a split if it is ``train``, ``valid`` ...
        drop: Columns that come out as nulls.
    """

    factory: Callable[[], Iterable[Mapping[str, Any]]]
    path: str = "rows"
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        kinds = Kinds(self.path, self.drop)
        for group in in_groups(self._rows()):
            kinds.see(group)
        return kinds.schema()

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        schema = self.schema
        return not_empty(self.path, to_batches(self.path, self._rows(), schema, self.drop))

    def fingerprint(self) -> str:  # noqa: D102
        return batches_fingerprint(self.schema, self.batches())

    def _rows(self) -> Iterator[Row]:
        for number, row in enumerate(self.factory(), 1):
            if not isinstance(row, Mapping):
                what = f"row {number} is of type {type(row).__name__}, not a dict."
                raise SourceError(what, self.path, 'Give dicts, such as {"age": 39, "income": 1}.')
            yield f"row {number}", flatten(row)


def batches_fingerprint(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> str:
    """xxh3 of names, types and values; bytes that are no value, such as those under a null, do not count."""
    hasher = xxhash.xxh3_64(schema.remove_metadata().to_string(show_field_metadata=False).encode())
    for batch in batches:
        for column in batch.columns:
            _hash_array(hasher, column)
    return hasher.hexdigest()


def _hash_array(hasher: xxhash.xxh3_64, array: Any) -> None:
    kind, types = array.type, pa.types
    hasher.update(len(array).to_bytes(8, "little"))
    hasher.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)).tobytes())
    present = array.drop_null()
    if types.is_null(kind):
        return
    if isinstance(array, pa.ExtensionArray):
        _hash_array(hasher, array.storage)
    elif types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        hasher.update(pc.list_value_length(present).to_numpy(zero_copy_only=False))
        _hash_array(hasher, present.flatten())
    elif types.is_string(kind) or types.is_binary(kind) or types.is_large_string(kind) or types.is_large_binary(kind):
        hasher.update(pc.binary_length(present).to_numpy(zero_copy_only=False))
        for value in present:
            hasher.update(value.as_buffer() or b"")
    elif types.is_primitive(kind):
        hasher.update(present.to_numpy(zero_copy_only=False).tobytes())
    else:
        hasher.update(repr(present.to_pylist()).encode())
