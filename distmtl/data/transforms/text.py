"""Transforms of text that need no other package: hashed words, and lists of words."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from distmtl.data.transforms.base import ColumnInfo, ColumnValues, RowBatch
from distmtl.data.transforms.columns import require
from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.specs import HashWordsSpec, VocabularySpec
from distmtl.data.transforms.words import is_filled, marks, pair, words
from distmtl.errors import ConfigError
from distmtl.features import FIRST_ID, MISSING_ID, UNKNOWN_ID

BETWEEN_ID = 1
"""The id that :class:`HashWords` puts between the texts of a pair."""


class HashWords:
    """See :class:`~distmtl.data.transforms.specs.HashWordsSpec`."""

    def __init__(self, spec: HashWordsSpec) -> None:
        self._spec = spec
        self.reads: Sequence[str] = spec.columns

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """A sequence of ids, and one of types where asked."""
        spec = self._spec
        for name in self.reads:
            require(columns, name, "text")
        return sequence_infos(spec.into, spec.types, FIRST_ID + spec.buckets, spec.max_length, 0)

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The hashed words of each row."""
        spec = self._spec
        texts = [rows.columns[name] for name in self.reads]
        ids = [words(text, self._hashes, lowercase=spec.lowercase) for text in texts]
        if len(ids) == 1:
            tokens = ids[0].cut(spec.max_length)
            types = Ragged(np.zeros_like(tokens.values), tokens.offsets)
        else:
            tokens, types = pair(ids[0], ids[1], marks(is_filled(texts[1]), BETWEEN_ID), spec.max_length)
        return {spec.into: tokens} | ({spec.types: types} if spec.types else {})

    def _hashes(self, distinct: list[str]) -> list[int]:
        buckets = self._spec.buckets
        return [FIRST_ID + xxhash.xxh3_64_intdigest(word.encode()) % buckets for word in distinct]


class Vocabulary:
    """See :class:`~distmtl.data.transforms.specs.VocabularySpec`.

    Raises:
        ConfigError: There is no list of words, or a word stands in it twice.
    """

    def __init__(self, spec: VocabularySpec, columns: Mapping[str, ColumnInfo]) -> None:
        self._spec = spec
        self._into = spec.into or spec.column
        self.reads: Sequence[str] = (spec.column,)
        self._words = _listed(spec, columns)
        self._ids = {word: FIRST_ID + i for i, word in enumerate(self._words)}
        self._array = pa.array(self._words, pa.string())

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """A categorical column, or a sequence of ids."""
        require(columns, self._spec.column, "text")
        if self._spec.split:
            return sequence_infos(self._into, None, FIRST_ID + len(self._words), self._spec.max_length, MISSING_ID)
        return {self._into: ColumnInfo("categorical", vocabulary=self._words)}

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """Ids: 0 for null and to fill up, 1 for a word that is not in the list, then those of the list."""
        texts = rows.columns[self._spec.column]
        if self._spec.split:
            ids = words(texts, self._known, lowercase=self._spec.lowercase)
            return {self._into: ids.cut(self._spec.max_length)}
        place = pc.fill_null(pc.index_in(texts, value_set=self._array), UNKNOWN_ID - FIRST_ID)
        found = place.to_numpy(zero_copy_only=False).astype(np.int32) + FIRST_ID
        found[~is_filled(texts)] = MISSING_ID
        return {self._into: found}

    def _known(self, distinct: list[str]) -> list[int]:
        return [self._ids.get(word, UNKNOWN_ID) for word in distinct]


def sequence_infos(into: str, types: str | None, size: int, max_length: int, pad: int) -> dict[str, ColumnInfo]:
    """What a column of ids is, and the one that says which text each id is of."""
    made = {into: ColumnInfo("ragged", "int64", pad=pad, max_length=max_length, size=size)}
    return made | ({types: ColumnInfo("ragged", "int64", max_length=max_length, size=2)} if types else {})


def _listed(spec: VocabularySpec, columns: Mapping[str, ColumnInfo]) -> tuple[str, ...]:
    if (spec.file is None) == (spec.like is None):
        raise ConfigError("a vocabulary comes from 'file' or from 'like'.", remedy="Give one of them.")
    if spec.like is not None:
        return require(columns, spec.like, "categorical").vocabulary
    path = Path(str(spec.file))
    try:
        listed = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the list of words: {error}.", str(path), "Check the path.") from error
    found = [word for word in listed if word]
    for word, count in _repeated(found):
        raise ConfigError(f"the word '{word}' stands there {count} times.", str(path), "Keep one.")
    return tuple(found)


def _repeated(found: list[str]) -> list[tuple[str, int]]:
    counts: dict[str, int] = {}
    for word in found:
        counts[word] = counts.get(word, 0) + 1
    return [(word, count) for word, count in counts.items() if count > 1]
