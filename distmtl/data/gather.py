"""From file names to typed columns and the rows of each split: the first half of packing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from distmtl.data.importers import expand_files, read_file
from distmtl.data.infer import TypedColumn, TypingOptions, check_options, nearest, type_column
from distmtl.data.manifest import TRAIN
from distmtl.data.merge import merge_files
from distmtl.data.options import PackOptions
from distmtl.data.splits import (
    DEFAULT_FRACTIONS,
    Rows,
    rows_by_fraction,
    rows_by_value,
    split_name,
    splits_of_names,
    standing,
)
from distmtl.data.tensors import TensorLayout, field_layout
from distmtl.errors import SourceError

Note = Callable[[str], None]
"""Told of each thing that a person should know about what is packed."""


@dataclass(frozen=True)
class InputRows:
    """Everything that was read: typed columns, and the ascending row indices of each split."""

    columns: list[TypedColumn]
    splits: dict[str, Rows]
    split_by: str


def files_by_split(
    inputs: Mapping[str, Sequence[str]] | Sequence[str], options: PackOptions, note: Note
) -> dict[str | None, list[str]]:
    """The files that the inputs name, by split; under None where the rows are still to be split.

    Raises:
        SourceError: They name no files, or the splits are given twice, lack train, or share a file.
    """
    chosen = options.fractions is not None or options.split_column is not None
    if not isinstance(inputs, Mapping):
        files = expand_files([inputs] if isinstance(inputs, str) else inputs)
        if not files:
            raise SourceError("no files are given.", remedy="Give files, folders or globs.")
        named = None if chosen else splits_of_names(files)
        if named is None:
            return {None: files}
        note(f"splits {', '.join(named)} follow the names of the files")
        return dict(named.items())
    if chosen:
        raise SourceError("the splits are given by files and by an option.", remedy="Keep one.")
    splits: dict[str | None, list[str]] = {}
    for name in sorted(inputs, key=lambda name: standing(split_name(name))):
        splits.setdefault(split_name(name), []).extend(expand_files(inputs[name]))
    if TRAIN not in splits:
        raise SourceError(
            "no files are given for the split 'train'.", remedy="A source needs one: --split train=FILES."
        )
    _refuse_shared_files(splits)
    return splits


def _refuse_shared_files(splits: Mapping[str | None, Sequence[str]]) -> None:
    owner: dict[Path, str | None] = {}
    for name, files in splits.items():
        for file in files:
            if owner.setdefault(Path(file).resolve(), name) != name:
                raise SourceError(
                    f"the file is in the splits '{owner[Path(file).resolve()]}' and '{name}'.", file, "Keep one."
                )


def read_rows(files: Mapping[str | None, Sequence[str]], options: PackOptions, note: Note) -> InputRows:
    """Read the files, find the types of their columns, and split their rows.

    Raises:
        SourceError: The files or the options are wrong.
    """
    raw = {name: [read_file(path, options.text) for path in paths] for name, paths in files.items()}
    every = [file for group in raw.values() for file in group]
    for file in every:
        for remark in file.notes:
            note(f"{file.path}: {remark}")
    text = every[0].text
    check_options(options.typing, [*dict.fromkeys(name for file in every for name in file.table.column_names)])
    table = merge_files(every, options.typing.drop)
    typing = replace(options.typing, tensors=_layouts(table.schema) | dict(options.typing.tensors))
    rows_of = {name: sum(file.table.num_rows for file in group) for name, group in raw.items()}
    splits, split_by = _split_rows(table, rows_of, options, note, text=text)
    names = [name for name in table.column_names if name != options.split_column]
    if not names:
        raise SourceError("no column is left beside the split column.", every[0].path, "Give files with more columns.")
    return InputRows([type_column(name, table[name], text=text, options=typing) for name in names], splits, split_by)


def _layouts(schema: pa.Schema) -> dict[str, TensorLayout]:
    found = {field.name: field_layout(field) for field in schema}
    return {name: layout for name, layout in found.items() if layout is not None}


def _split_rows(
    table: pa.Table, rows_of: Mapping[str | None, int], options: PackOptions, note: Note, *, text: bool
) -> tuple[dict[str, Rows], str]:
    """The rows of each split, and what decided them."""
    name = options.split_column
    if None not in rows_of:
        ends = np.cumsum(list(rows_of.values()))
        ranges = zip(rows_of, ends - list(rows_of.values()), ends, strict=True)
        return {str(split): np.arange(a, b) for split, a, b in ranges}, "files"
    if name is not None:
        if name not in table.column_names:
            raise SourceError(f"there is no split column '{name}'.", remedy=nearest(name, table.column_names))
        as_words = TypingOptions(categorical=(name,), nulls=options.typing.nulls)
        column = type_column(name, table[name], text=text, options=as_words)
        return rows_by_value(column.words, column.values, name), f"column {name}"
    fractions = {split_name(split): share for split, share in (options.fractions or DEFAULT_FRACTIONS).items()}
    shown = ", ".join(f"{split} {share:.3g}" for split, share in fractions.items())
    if options.fractions is None:
        note(f"the rows are split at random: {shown}; choose with --split, --split-column or --fractions")
    splits = rows_by_fraction(table.num_rows, fractions, options.seed)
    for split in [split for split, rows in splits.items() if not rows.size]:
        note(f"split '{split}' is left out: {table.num_rows} rows are too few for a share of {fractions[split]:g}")
        del splits[split]
    return dict(sorted(splits.items(), key=lambda item: standing(item[0]))), f"fractions {shown}"
