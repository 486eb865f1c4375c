"""What paths, globs and folders name: files of a format that can be packed, and folders that are one data set."""

import glob
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from distmtl.data.importers import hugging_face, mosaic
from distmtl.data.importers.files import classes_of, holds_image
from distmtl.errors import SourceError

COMPRESSION = (".gz", ".bz2", ".zst")
TEXT = (".csv", ".tsv", ".tab", ".txt")
PARQUET = (".parquet", ".pq")
ARROW = (".arrow", ".feather")
JSON = (".jsonl", ".ndjson", ".json")
TAR = (".tar", ".tgz")
SUPPORTED = tuple(sorted((*PARQUET, *ARROW, *TEXT, *JSON, *TAR)))
_COMPRESSIBLE = (*TEXT, *JSON, *TAR)

FolderKind = Literal["saved", "mosaic", "images"]


def expand_files(patterns: Sequence[str]) -> list[str]:
    """The files and data set folders that paths, globs and folders name, in order and without repeats.

    A folder that is a data set (see :func:`folder_kind`) is one input. Another gives its own files, or where none of
    them can be packed the data sets in it, such as a folder for each split.

    Raises:
        SourceError: A pattern names nothing, or nothing of a supported format.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            inputs = _inputs_in(path)
        elif path.is_file():
            inputs = [str(path)]
        else:
            # Path.glob takes no absolute pattern.
            matches = [Path(match) for match in sorted(glob.glob(str(path), recursive=True))]  # noqa: PTH207
            inputs = [str(match) for match in matches if match.is_file() or folder_kind(match)]
        if not inputs:
            raise SourceError(_nothing_found(pattern, folder=path.is_dir()), remedy=_remedy(path))
        found.update(dict.fromkeys(inputs))
    return list(found)


def _inputs_in(folder: Path) -> list[str]:
    if (folder / hugging_face.SPLITS).is_file():
        return hugging_face.split_folders(str(folder))
    if folder_kind(folder):
        return [str(folder)]
    return _own_files(folder) or sorted(str(inner) for inner in folder.iterdir() if folder_kind(inner))


def _own_files(folder: Path) -> list[str]:
    # A .json in a folder is more often settings than rows; one that is named is taken for rows.
    return sorted(str(item) for item in folder.iterdir() if item.is_file() and file_kind(item) not in {"", ".json"})


def folder_kind(folder: Path) -> FolderKind | None:
    """What data set a folder is: one that ``datasets`` saved, one of MDS shards, or images in a folder per class."""
    if not folder.is_dir():
        return None
    if (folder / hugging_face.STATE).is_file():
        return "saved"
    if (folder / mosaic.INDEX).is_file():
        return "mosaic"
    return "images" if not _own_files(folder) and classes_of(str(folder)) else None


def file_kind(path: Path) -> str:
    """The ending that says a file's format, or "" for one that is not supported."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in COMPRESSION:
        packed = suffixes.pop()
        if not suffixes or suffixes[-1] not in _COMPRESSIBLE or (suffixes[-1] in TAR and packed == ".zst"):
            return ""
    return suffixes[-1] if suffixes and suffixes[-1] in SUPPORTED else ""


def stem(path: str) -> str:
    """A file's name without its folder and endings: ``a/train.csv.gz`` gives ``train``."""
    name = Path(path)
    while name.suffix in COMPRESSION:
        name = name.with_suffix("")
    return name.stem


def _nothing_found(pattern: str, *, folder: bool) -> str:
    if folder:
        return f"folder '{pattern}' has no file of a type that can be packed ({', '.join(SUPPORTED)})."
    if "://" in pattern:
        return f"'{pattern}' is not a local file; only the packed source may be remote."
    return f"there is no file '{pattern}'."


def _remedy(path: Path) -> str:
    if path.is_dir() and holds_image(path):
        return "It has images: put them into a folder for each class, or give a CSV file of names with --files COLUMN."
    return "Give local files, folders or globs."
