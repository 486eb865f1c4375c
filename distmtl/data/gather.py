"""From the names of files to inputs, the splits that they belong to, and the columns that they share."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from distmtl.data.importers import Given, RawInput, open_inputs
from distmtl.data.manifest import TRAIN
from distmtl.data.options import PackOptions
from distmtl.data.splits import split_name, splits_of_names, standing
from distmtl.errors import SourceError

Note = Callable[[str], None]
"""Told of each thing that a person should know about what is packed."""

Inputs = Mapping[str, Sequence[Given] | Given] | Sequence[Given] | Given
"""What is packed: files, folders, globs and inputs, alone, in a list, or by split."""


def inputs_by_split(inputs: Inputs, options: PackOptions, note: Note) -> dict[str | None, list[RawInput]]:
    """The inputs, by split; under None where the rows are still to be split.

    Raises:
        SourceError: There are none, or the splits are given twice, lack train, or share a file.
    """
    chosen = any(choice is not None for choice in (options.fractions, options.split_column, options.group_by))
    if not isinstance(inputs, Mapping):
        opened = _open(inputs, options)
        if not opened:
            raise SourceError("no files are given.", remedy="Give files, folders or globs.")
        named = None if chosen else splits_of_names([raw.path for raw in opened])
        if named is None:
            return {None: opened}
        note(f"splits {', '.join(named)} follow the names of the files")
        return {name: [raw for raw in opened if raw.path in paths] for name, paths in named.items()}
    if chosen:
        raise SourceError("the splits are given by files and by an option.", remedy="Keep one.")
    splits: dict[str | None, list[RawInput]] = {}
    for name in sorted(inputs, key=lambda name: standing(split_name(name))):
        splits.setdefault(split_name(name), []).extend(_open(inputs[name], options))
    if TRAIN not in splits and not options.append:
        raise SourceError(
            "no files are given for the split 'train'.", remedy="A source needs one: --split train=FILES."
        )
    _refuse_shared_files(splits)
    return splits


def _open(given: Sequence[Given] | Given, options: PackOptions) -> list[RawInput]:
    return open_inputs(
        given if isinstance(given, Sequence) and not isinstance(given, str) else [given], options.imports
    )


def _refuse_shared_files(splits: Mapping[str | None, Sequence[RawInput]]) -> None:
    owner: dict[Path, str | None] = {}
    for name, group in splits.items():
        for raw in group:
            file = Path(raw.path).resolve()
            if not file.exists():
                continue  # rows of a program, which may all be called the same
            if owner.setdefault(file, name) != name:
                raise SourceError(f"the file is in the splits '{owner[file]}' and '{name}'.", raw.path, "Keep one.")
