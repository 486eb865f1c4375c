"""Several inputs as one table: the same columns in all of them, or an error that names two inputs and the column."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from distmtl.data.importers import RawInput
from distmtl.errors import SourceError


def merge_schemas(inputs: Sequence[RawInput], drop: Sequence[str]) -> pa.Schema:
    """The columns of all inputs, as they stand in the first one.

    Numbers of different width, and a column that is all null in one input, take the wider type; a dictionary is the
    type of its values.

    Args:
        inputs: The inputs; at least one.
        drop: Columns that are left out, whether or not an input has them.

    Raises:
        SourceError: The inputs differ in format, columns or types, or no column is left.
    """
    schemas = [_plain(raw.schema, drop) for raw in inputs]
    first = inputs[0]
    merged = schemas[0]
    if not len(merged):
        raise SourceError("no column is left.", first.path, "Drop fewer columns.")
    for raw, schema in zip(inputs[1:], schemas[1:], strict=True):
        if raw.text != first.text:
            raise SourceError(
                f"'{first.path}' and '{raw.path}' are of different formats.", remedy="Pack files of one format."
            )
        _same_names(first.path, merged, raw.path, schema)
        merged = _unified(first.path, merged, raw.path, schema)
    return merged


def conform(batch: pa.RecordBatch, schema: pa.Schema, where: str) -> pa.RecordBatch:
    """A batch of the input ``where`` with the columns of all inputs.

    Raises:
        SourceError: A value does not fit the type that all of them share.
    """
    return pa.RecordBatch.from_arrays([_cast(batch, field, where) for field in schema], schema=schema)


def _cast(batch: pa.RecordBatch, field: pa.Field, where: str) -> Any:
    array = batch.column(field.name)
    if pa.types.is_dictionary(array.type):
        array = array.cast(array.type.value_type)
    try:
        return array if array.type == field.type else array.cast(field.type)
    except pa.ArrowInvalid as error:
        raise SourceError(
            f"column '{field.name}' of type {array.type} does not fit {field.type}, which other files need: "
            f"{str(error).splitlines()[0].rstrip('.')}.",
            where,
            f"Give it one type, or use --drop {field.name}.",
        ) from error


def _plain(schema: pa.Schema, drop: Sequence[str]) -> pa.Schema:
    """The schema without dropped columns, metadata and dictionaries, which may differ from input to input."""
    fields = [field for field in schema if field.name not in drop]
    return pa.schema([pa.field(field.name, _value_type(field.type), metadata=field.metadata) for field in fields])


def _value_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _same_names(first: str, schema: pa.Schema, other: str, other_schema: pa.Schema) -> None:
    for path, has, lacks, lacking in ((first, schema, other_schema, other), (other, other_schema, schema, first)):
        for name in has.names:
            if name not in lacks.names:
                raise SourceError(
                    f"'{path}' has the column '{name}', but '{lacking}' has not.",
                    remedy=f"The files of a source have the same columns: add it, or use --drop {name}.",
                )


def _unified(first: str, schema: pa.Schema, other: str, other_schema: pa.Schema) -> pa.Schema:
    fields = []
    for field in schema:
        other_field = other_schema.field(field.name)
        try:
            both = pa.unify_schemas([pa.schema([field]), pa.schema([other_field])], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise SourceError(
                f"column '{field.name}' is of type {field.type} in '{first}' and {other_field.type} in '{other}'.",
                remedy=f"Give it one type, or use --drop {field.name}.",
            ) from error
        fields.append(both.field(0))
    return pa.schema(fields)
