"""Statistics of a few numbers, as packing finds them."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from distmtl.data.ingest.folds import NumberFold
from distmtl.data.manifest import NumericStatistics


def numeric_statistics(values: npt.NDArray[Any], valid: npt.NDArray[np.bool_], *, train: bool) -> NumericStatistics:
    """Statistics of ``[N]`` numbers, of which ``valid`` are not null."""
    fold = NumberFold(train)
    fold.add(pa.array(values, mask=~valid), np.ones(len(values), bool))
    fold.finish()
    return fold.statistics()
