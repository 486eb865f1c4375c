"""Names of splits, and the splits that names of files stand for."""

import re
from collections.abc import Mapping, Sequence

from distmtl.data.importers import stem
from distmtl.data.manifest import TRAIN
from distmtl.errors import SourceError

DEFAULT_FRACTIONS: Mapping[str, float] = {"train": 0.8, "valid": 0.1, "test": 0.1}
"""How rows are split where nothing says otherwise."""

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
_SHARD_STEM = re.compile(r"^(.*?)[-_.]?\d+(?:[-_.]?of[-_.]?\d+)?$")
_STANDARD = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "validation", "val", "dev"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_name(name: str) -> str:
    """The name of a split as a source has it: ``validation``, ``val`` and ``dev`` are ``valid``.

    Raises:
        SourceError: It is not a name.
    """
    if not _NAME.match(name):
        raise SourceError(f"'{name}' cannot name a split.", remedy="Use letters, digits, '_' and '-'.")
    return _STANDARD.get(name.lower(), name)


def splits_of_names(files: Sequence[str]) -> dict[str, list[str]] | None:
    """The files of each split, where their names say it (``train.csv``, ``valid-00000-of-00002.parquet``).

    Returns:
        Files by split, or None where the names do not cut the files into train and other splits.

    Raises:
        SourceError: Some names say it and others do not.
    """
    names = {path: _split_of(path) for path in files}
    splits: dict[str, list[str]] = {}
    for path, name in names.items():
        if name is not None:
            splits.setdefault(name, []).append(path)
    if len(splits) < 2 or TRAIN not in splits:
        return None
    unnamed = [path for path, name in names.items() if name is None]
    if unnamed:
        raise SourceError(
            f"'{splits[TRAIN][0]}' is named after a split and '{unnamed[0]}' is not.",
            remedy="Say what each file is: --split train=FILES --split valid=FILES.",
        )
    return dict(sorted(splits.items(), key=lambda item: standing(item[0])))


def standing(name: str) -> tuple[int, str]:
    """Sorts splits: train, valid, test, then the others by name."""
    first = {"train": 0, "valid": 1, "test": 2}
    return first.get(name, 3), name


def _split_of(path: str) -> str | None:
    name = stem(path).lower()
    match = _SHARD_STEM.match(name)
    return _STANDARD.get(name) or (_STANDARD.get(match.group(1)) if match else None)
