"""What the columns of the packed files are, and what a caller may know better.

================================  =============  =====================================================================
type in the files                 kind           stored as
================================  =============  =====================================================================
boolean                           numeric        int32, 0 or 1
integer                           numeric        int32 if the values fit, else int64
float, decimal                    numeric        float32, or float64 where float32 would move a value by more than a
                                                 millionth of the column's standard deviation
date, timestamp, time, duration   numeric        seconds (a date or timestamp: since 1970-01-01 UTC)
string, dictionary of strings     categorical    int32 ids of the source's vocabulary
the same, with many values        text           UTF-8
list of one length, fixed-size    tensor         the bytes of one row, in row-major order; nested lists give more
list, fixed-size binary                          dimensions, and binary without a dtype is uint8
list of any length                ragged         the bytes of the numbers of one row, null allowed
binary of any length              bytes          as it is
no value at all                   numeric        float32, all null
================================  =============  =====================================================================

In text files a column is the first of these that all its non-null cells are: integer, float, boolean (true or false),
ISO 8601 date or timestamp; else it holds strings. Integers that begin with 0, such as postal codes, or need more than
64 bits, are identifiers and stay strings. NaN is null everywhere. Strings are text where more than 1,000 of them are
distinct, and more than half of all rows or than the largest vocabulary has words.

What decides all this, batch by batch, is in :mod:`distmtl.data.ingest.scanners`.
"""

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from distmtl.data.tensors import TensorLayout
from distmtl.errors import SourceError

NULL_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "?")
"""What a text file may write for null, unless the caller says otherwise."""


@dataclass(frozen=True)
class TypingOptions:
    """What the caller knows better than the inference.

    Attributes:
        categorical: Columns whose values are names, whatever they look like.
        text: Columns whose values are text, whatever they look like.
        numeric: Columns whose values are numbers, though they are stored as strings.
        drop: Columns that are left out.
        tensors: What the bytes of binary columns are.
        nulls: Strings that mean null in text files and in the ``numeric`` columns.
    """

    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tensors: Mapping[str, TensorLayout] = field(default_factory=dict)
    nulls: tuple[str, ...] = NULL_TOKENS


def check_options(options: TypingOptions, names: Sequence[str]) -> None:
    """Refuse options that name no column, or one column in two ways.

    Raises:
        SourceError: They do.
    """
    given = {
        "--categorical": options.categorical,
        "--text": options.text,
        "--numeric": options.numeric,
        "--drop": options.drop,
        "--tensor": tuple(options.tensors),
    }
    taken: dict[str, str] = {}
    for option, columns in given.items():
        for name in columns:
            if name not in names:
                raise SourceError(f"there is no column '{name}', which {option} names.", remedy=nearest(name, names))
            if taken.setdefault(name, option) != option:
                raise SourceError(f"column '{name}' stands in both {taken[name]} and {option}.", remedy="Keep one.")


def nearest(name: str, names: Iterable[str]) -> str:
    """A remedy that offers the most similar name, or lists the first ones."""
    candidates = sorted(names)
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.6)
    if close:
        return f"Did you mean '{close[0]}'?"
    more = ", ..." if len(candidates) > 12 else ""
    return f"There are: {', '.join(candidates[:12])}{more}."
