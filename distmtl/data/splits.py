"""Which split each row goes to, and in which order: pure functions of the seed and the row's place in the input.

A keyed permutation finds a row's place without looking at the other rows, and is the same in every version of NumPy.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.data.importers import stem
from distmtl.data.manifest import TRAIN
from distmtl.data.permute import key, permute
from distmtl.errors import SourceError

Rows = npt.NDArray[np.int64]

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


def rows_by_fraction(rows: int, fractions: Mapping[str, float], seed: int) -> dict[str, Rows]:
    """Split rows at random in exact shares.

    Args:
        rows: Number of rows.
        fractions: Positive shares by split, with sum 1.
        seed: The rows of a split follow from it and from ``rows``.

    Returns:
        Ascending row indices by split; a share too small for one row gives an empty split.

    Raises:
        SourceError: The shares are not positive, do not sum to 1, or leave train without a row.
    """
    if any(not share > 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1) > 1e-6:
        text = ", ".join(f"{name}={share:g}" for name, share in fractions.items())
        raise SourceError(f"the fractions {text} are not positive numbers of sum 1.", remedy="Correct --fractions.")
    places = permute(np.arange(rows), rows, key(seed, "pack", "split"))
    ends = np.rint(rows * np.cumsum(list(fractions.values()))).astype(np.int64)
    numbers = np.searchsorted(ends, places, side="right")
    return _with_train({name: np.flatnonzero(numbers == i) for i, name in enumerate(fractions)}, "the fractions")


def rows_by_value(words: Sequence[str], codes: npt.NDArray[Any], column: str) -> dict[str, Rows]:
    """Split rows by the value of a column.

    Args:
        words: The distinct values.
        codes: ``[N]`` index into ``words``, -1 for null.
        column: Its name.

    Returns:
        Ascending row indices by split.

    Raises:
        SourceError: A row has no value, a value cannot name a split, or no row is of train.
    """
    if (codes < 0).any():
        raise SourceError(
            f"split column '{column}' is null in {int((codes < 0).sum())} rows.", remedy="Give every row a split."
        )
    names = np.array([split_name(word) for word in words])
    splits = {str(name): np.flatnonzero(names[codes] == name) for name in sorted(set(names.tolist()), key=standing)}
    return _with_train(splits, f"split column '{column}'")


def shuffled_rows(rows: Rows, seed: int, split: str) -> Rows:
    """The rows of a split in an order that follows from the seed."""
    return rows[permute(np.arange(len(rows)), len(rows), key(seed, "pack", "order", split))] if len(rows) else rows


def _split_of(path: str) -> str | None:
    name = stem(path).lower()
    match = _SHARD_STEM.match(name)
    return _STANDARD.get(name) or (_STANDARD.get(match.group(1)) if match else None)


def _with_train(splits: dict[str, Rows], where: str) -> dict[str, Rows]:
    if not splits.get(TRAIN, np.empty(0)).size:
        raise SourceError(
            f"no row is of split 'train' by {where}; there are: {', '.join(splits)}.", remedy="Give it rows."
        )
    return splits
