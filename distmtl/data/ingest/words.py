"""The words of a categorical column, numbered as they are met, by several threads at once."""

from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from distmtl.errors import SourceError

WORDS_LIMIT = 1_000_000
"""So many distinct words of a column can be counted, or as many as its vocabulary may have, if that is more."""


class Words:
    """Numbers the distinct words of a column.

    Args:
        name: The column.
        limit: More words than this are an error: they would fill the memory.
    """

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._codes: dict[str, int] = {}
        self._lock = Lock()

    def codes(self, data: Any) -> npt.NDArray[np.int32]:
        """The number of each string ``[N]``, -1 for null.

        Raises:
            SourceError: There are too many words.
        """
        encoded = data.dictionary_encode()
        found = encoded.dictionary.to_pylist()
        with self._lock:
            codes = self._codes
            numbers = np.array([codes.setdefault(word, len(codes)) for word in found] + [-1], np.int32)
            if len(codes) > self._limit:
                raise SourceError(
                    f"column '{self._name}' has more than {self._limit:,} distinct values, too many for names.",
                    remedy=f"Use --text {self._name} or --drop {self._name}.",
                )
        indices = pc.fill_null(encoded.indices, len(found)).to_numpy(zero_copy_only=False)
        taken: npt.NDArray[np.int32] = numbers[indices]
        return taken

    @property
    def words(self) -> Sequence[str]:
        """The words, by number."""
        return list(self._codes)
