"""The sweep: every row of a split once, in row order, for evaluation and prediction."""

from collections.abc import Iterator

import numpy as np
import torch

from distmtl.data.batch import SourceBatch
from distmtl.data.blocks import LoaderSource, combine, join, slice_rows
from distmtl.data.decode import Decoded
from distmtl.data.sequence import BlockSequence


def sweep(source: LoaderSource, rank: int, size: int, batch_rows: int) -> Iterator[SourceBatch]:
    """A worker's rows of a split, in row order; the workers' shares follow one on another and differ by one row.

    Reads the blocks that hold the share, each once and one at a time.

    Args:
        source: The source; its transforms take their deterministic form.
        rank: The worker.
        size: The number of workers.
        batch_rows: Rows of a batch; the last may have fewer.

    Yields:
        Batches whose ``positions`` are row numbers of the split.
    """
    split, decoder = source.split, source.decoder
    start, stop = rank * split.rows // size, (rank + 1) * split.rows // size
    blocks = BlockSequence(split.block_rows, split.short_blocks)
    place, held = -1, None
    for first in range(start, stop, batch_rows):
        last = min(stop, first + batch_rows)
        parts: list[Decoded] = []
        row = first
        while row < last:
            block = blocks.find(row)[0].item()
            if held is None or block != place:
                place, held = block, decoder.decode(split.read_block(block, decoder.columns))
            begin, end = blocks.start([block, block + 1]).tolist()
            parts.append(slice_rows(held, row - begin, min(end, last) - begin))
            row = min(end, last)
        columns = parts[0] if len(parts) == 1 else combine(parts, join)
        if source.transform is not None:
            columns = source.transform.apply(columns, np.arange(first, last))
        yield SourceBatch(source.name, columns.inputs, columns.targets, columns.weights, torch.arange(first, last))
