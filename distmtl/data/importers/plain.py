"""Typed columns as the rest of packing takes them: no structs, dictionaries, views or extension types."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.importers.base import cut
from distmtl.data.importers.features import Features, decode, decoded_type, features_of

_PANDAS_INDEX = "__index_level_"
_EXTENSION = b"ARROW:extension"


@dataclass(frozen=True)
class Plain:
    """What is done to each batch of an input.

    Attributes:
        schema: The columns that come out.
        dropped: Columns that come out as nulls.
        features: What Hugging Face ``datasets`` says of columns.
        path: What the input is called in messages.
        notes: What a person should know of it.
    """

    schema: pa.Schema
    dropped: tuple[str, ...] = ()
    features: Features = field(default_factory=dict)
    path: str = ""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, schema: pa.Schema, path: str, drop: Sequence[str] = (), features: Features | None = None) -> "Plain":
        """What the batches of a schema need; features are taken from its metadata where they are not given."""
        features = features_of(schema) if features is None else features
        kept = [column for column in schema if not column.name.startswith(_PANDAS_INDEX)]
        notes = ("the saved pandas index was left out",) if len(kept) < len(schema) else ()
        fields = [part for column in kept for part in _plain_fields(column, drop, features)]
        return cls(pa.schema(fields), tuple(drop), features, path, notes)

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """A batch of the input's schema as one of ``schema``."""
        arrays = [
            array
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
            if not name.startswith(_PANDAS_INDEX)
            for array in self._arrays(name, column)
        ]
        return pa.RecordBatch.from_arrays(
            [_as_type(array, kind) for array, kind in zip(arrays, self.schema.types, strict=True)], schema=self.schema
        )

    def stream(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Batches of the input's schema, of any size, as batches of ``schema`` of a size that is allowed."""
        for batch in batches:
            for part in cut(batch):
                yield from cut(self.apply(part))

    def _arrays(self, name: str, column: Any) -> list[Any]:
        if name in self.dropped:
            return [pa.nulls(len(column))]
        return _plain_arrays(decode(column, self.features.get(name), f"column '{name}'", self.path))


def _plain_fields(column: pa.Field, drop: Sequence[str], features: Features) -> list[pa.Field]:
    if column.name in drop:
        return [pa.field(column.name, pa.null())]
    kind = _plain_type(decoded_type(column.type, features.get(column.name)))
    metadata = {key: text for key, text in (column.metadata or {}).items() if not key.startswith(_EXTENSION)}
    return _flat_fields(pa.field(column.name, kind, column.nullable, metadata or None))


def _flat_fields(column: pa.Field) -> list[pa.Field]:
    """A field, or the fields of a struct with its name and a dot before theirs, at any depth."""
    if not pa.types.is_struct(column.type):
        return [column]
    inner = [column.type.field(i) for i in range(column.type.num_fields)]
    named = [pa.field(f"{column.name}.{part.name}", _plain_type(part.type), metadata=part.metadata) for part in inner]
    return [flat for part in named for flat in _flat_fields(part)]


def _plain_arrays(array: Any) -> list[Any]:
    """The columns of :func:`_flat_fields`; where the struct is null, they are."""
    while isinstance(array, pa.ExtensionArray) and not isinstance(array.type, pa.FixedShapeTensorType):
        array = array.storage
    if not pa.types.is_struct(array.type):
        return [array]
    return [flat for part in array.flatten() for flat in _plain_arrays(part)]


def _plain_type(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if types.is_dictionary(kind) or types.is_run_end_encoded(kind):
        return _plain_type(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if isinstance(kind, pa.BaseExtensionType) and not isinstance(kind, pa.FixedShapeTensorType):
        return _plain_type(kind.storage_type)
    return kind


def _as_type(array: Any, kind: pa.DataType) -> Any:
    if pa.types.is_run_end_encoded(array.type):
        array = pc.run_end_decode(array)
    return array if array.type == kind else array.cast(kind)
