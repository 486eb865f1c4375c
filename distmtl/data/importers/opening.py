"""Which importer reads what is given."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmtl.data.importers.arrow_files import TypedFile, open_arrow, open_parquet
from distmtl.data.importers.base import ImportOptions, RawInput
from distmtl.data.importers.files import AttachedFiles, ImageTreeInput
from distmtl.data.importers.hugging_face import Dataset, DatasetInput, SavedDatasetInput
from distmtl.data.importers.json_lines import JsonLinesInput
from distmtl.data.importers.mosaic import MosaicInput
from distmtl.data.importers.recognise import (
    ARROW,
    JSON,
    PARQUET,
    SUPPORTED,
    TAR,
    TEXT,
    expand_files,
    file_kind,
    folder_kind,
)
from distmtl.data.importers.text_files import TextInput
from distmtl.data.importers.webdataset import WebDatasetInput
from distmtl.errors import SourceError

Given = str | RawInput | Dataset | Mapping[str, Dataset]
"""What can be packed: a path or glob, an input that is open already, a ``datasets.Dataset`` or ``DatasetDict``."""


def open_inputs(given: Sequence[Given], options: ImportOptions) -> list[RawInput]:
    """The inputs that paths, globs, folders and objects name, in order and without repeats; none is read yet.

    Raises:
        SourceError: A pattern names nothing, or nothing of a supported format; an object is none of these.
    """
    opened: list[RawInput] = []
    paths: set[str] = set()
    for item in given:
        if isinstance(item, str):
            new = [path for path in expand_files([item]) if path not in paths]
            opened += [open_input(path, options) for path in new]
            paths.update(new)
        else:
            opened += [_with_files(inner, options) for inner in _objects(item, options)]
    return opened


def open_input(path: str, options: ImportOptions) -> RawInput:
    """The input of one path that :func:`expand_files` gave.

    Raises:
        SourceError: It is of no supported format.
    """
    opened = _open_folder(path, options) if Path(path).is_dir() else _open_file(path, options)
    return _with_files(opened, options)


def _with_files(opened: RawInput, options: ImportOptions) -> RawInput:
    return AttachedFiles(opened, dict(options.files)) if options.files else opened


def _objects(item: Any, options: ImportOptions) -> list[RawInput]:
    if isinstance(item, Mapping):
        return [DatasetInput(dataset, str(name), options.drop) for name, dataset in item.items()]
    if isinstance(item, Dataset):
        return [DatasetInput(item, "dataset", options.drop)]
    if not hasattr(item, "batches"):
        what = f"an object of type {type(item).__name__} cannot be packed."
        raise SourceError(what, remedy="Give paths, a datasets.Dataset, or RowsInput(function that gives dicts).")
    opened: RawInput = item
    return [opened]


def _open_folder(path: str, options: ImportOptions) -> RawInput:
    match folder_kind(Path(path)):
        case "saved":
            return SavedDatasetInput(path, options.drop)
        case "mosaic":
            return MosaicInput(path, options.drop)
        case "images":
            return ImageTreeInput(path)
    raise SourceError("the folder is no data set.", path, "Give the files in it, or a folder of a format that is read.")


def _open_file(path: str, options: ImportOptions) -> RawInput:
    kind = file_kind(Path(path))
    if kind in PARQUET:
        return TypedFile(path, open_parquet, options.drop)
    if kind in ARROW:
        return TypedFile(path, open_arrow, options.drop)
    if kind in TEXT:
        return TextInput(path, options.text, tabs=kind in {".tsv", ".tab"})
    if kind in JSON:
        return JsonLinesInput(path, options.drop)
    if kind in TAR:
        return WebDatasetInput(path, options.drop)
    raise SourceError(
        f"files of type '{Path(path).suffix}' cannot be packed.", path, f"Give one of {', '.join(SUPPORTED)}."
    )
