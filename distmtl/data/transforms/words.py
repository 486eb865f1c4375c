"""Texts cut into words, batch by batch in Arrow's own kernels."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from distmtl.data.transforms.ragged import Ragged, side_by_side

_MARK = r"([^\p{L}\p{M}\p{N}\s'])"
"""A character that is a word of its own: anything but letters, digits, blanks and apostrophes."""


def words(texts: Any, lookup: Callable[[list[str]], list[int]], *, lowercase: bool) -> Ragged:
    """The id of each word of N texts.

    Args:
        texts: A ``pyarrow.StringArray``; a null has no word.
        lookup: Gives the ids of distinct words.
        lowercase: Whether words are looked up in lower case.
    """
    plain = pc.fill_null(texts, "")
    plain = pc.utf8_lower(plain) if lowercase else plain
    spaced = pc.replace_substring_regex(plain, pattern=_MARK, replacement=r" \1 ")
    lists = pc.utf8_split_whitespace(spaced)
    flat = lists.flatten()
    here = pc.not_equal(flat, "")  # blanks at either end give an empty word
    row = np.repeat(np.arange(len(texts)), pc.list_value_length(lists).to_numpy(zero_copy_only=False))
    lengths = np.bincount(row[here.to_numpy(zero_copy_only=False)], minlength=len(texts))
    offsets = np.concatenate(([0], np.cumsum(lengths))).astype(np.int64)
    coded = flat.filter(here).dictionary_encode()
    ids = np.array(lookup(coded.dictionary.to_pylist()), np.int64)
    return Ragged(ids[coded.indices.to_numpy()], offsets)


def pair(first: Ragged, second: Ragged, between: Ragged, max_length: int) -> tuple[Ragged, Ragged]:
    """Two texts as one row each, the longer cut first where both have more than ``max_length`` together.

    Args:
        first: Ids of the first texts.
        second: Ids of the second.
        between: What stands between them.
        max_length: Most ids of a row.

    Returns:
        The ids, and for each the text that it is of: 0 (what stands between as well) or 1.
    """
    room = max_length - between.lengths
    kept = np.minimum(first.lengths, np.maximum(room - second.lengths, room - room // 2))
    first = first.cut(kept)
    second = second.cut(room - first.lengths)
    parts = [first, between, second]
    sides = [Ragged(np.full_like(part.values, side), part.offsets) for part, side in zip(parts, (0, 0, 1), strict=True)]
    return side_by_side(parts), side_by_side(sides)


def marks(present: npt.NDArray[np.bool_], mark: int) -> Ragged:
    """One id in the rows where it is present, and none in the others."""
    offsets = np.concatenate(([0], np.cumsum(present))).astype(np.int64)
    return Ragged(np.full(int(offsets[-1]), mark, np.int64), offsets)


def is_filled(texts: Any) -> npt.NDArray[np.bool_]:
    """Which rows are not null ``[N]``."""
    filled: npt.NDArray[np.bool_] = pc.is_valid(texts).to_numpy(zero_copy_only=False)
    return filled
