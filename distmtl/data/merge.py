"""Several files as one table: the same columns in all of them, or an error that names two files and the column."""

from collections.abc import Sequence

import pyarrow as pa

from distmtl.data.importers import RawFile
from distmtl.errors import SourceError


def merge_files(files: Sequence[RawFile], drop: Sequence[str]) -> pa.Table:
    """The rows of all files, in order; columns stand as in the first file.

    Numbers of different width, and a column that is all null in one file, take the wider type.

    Args:
        files: The files; at least one.
        drop: Columns that are left out, whether or not a file has them.

    Raises:
        SourceError: The files differ in format, columns or types, or no column is left.
    """
    tables = [_plain(file, drop) for file in files]
    first = files[0]
    if not tables[0].num_columns:
        raise SourceError("no column is left.", first.path, "Drop fewer columns.")
    for file, table in zip(files[1:], tables[1:], strict=True):
        if file.text != first.text:
            raise SourceError(
                f"'{first.path}' and '{file.path}' are of different formats.", remedy="Pack files of one format."
            )
        _same_names(first.path, tables[0], file.path, table)
    names = tables[0].column_names
    merged = tables[0]
    for file, table in zip(files[1:], tables[1:], strict=True):
        _same_types(first.path, merged, file.path, table)
        merged = pa.concat_tables([merged, table.select(names)], promote_options="permissive")
    return merged


def _plain(file: RawFile, drop: Sequence[str]) -> pa.Table:
    """The table without dropped columns, metadata and dictionaries, which may differ from file to file."""
    table = file.table.select([name for name in file.table.column_names if name not in drop])
    for i, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(i, field.name, table.column(i).cast(field.type.value_type))
    return table.replace_schema_metadata(None)


def _same_names(first: str, table: pa.Table, other: str, other_table: pa.Table) -> None:
    for path, has, lacks, lacking in ((first, table, other_table, other), (other, other_table, table, first)):
        for name in has.column_names:
            if name not in lacks.column_names:
                raise SourceError(
                    f"'{path}' has the column '{name}', but '{lacking}' has not.",
                    remedy=f"The files of a source have the same columns: add it, or use --drop {name}.",
                )


def _same_types(first: str, table: pa.Table, other: str, other_table: pa.Table) -> None:
    for field in table.schema:
        other_field = other_table.schema.field(field.name)
        try:
            pa.unify_schemas([pa.schema([field]), pa.schema([other_field])], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise SourceError(
                f"column '{field.name}' is of type {field.type} in '{first}' and {other_field.type} in '{other}'.",
                remedy=f"Give it one type, or use --drop {field.name}.",
            ) from error
