"""From a source's ids of a categorical column to those of the run."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from distmtl.features import FIRST_ID, UNKNOWN_ID, CategoricalColumn


def run_ids(vocabulary: Sequence[str], column: CategoricalColumn) -> npt.NDArray[np.int64]:
    """The run's id of each id of a source ``[FIRST_ID + words]``.

    Args:
        vocabulary: The source's words.
        column: The run's column.
    """
    run = {word: FIRST_ID + i for i, word in enumerate(column.vocabulary)}
    known = [run.get(word, UNKNOWN_ID) for word in vocabulary]
    return np.array([*range(FIRST_ID), *known], np.int64)
