"""The sweep: every row of a split once, in row order, for evaluation and prediction."""

from collections.abc import Iterator

import torch

from distmtl.data.batch import SourceBatch
from distmtl.data.decode import Decoded
from distmtl.data.sequence import BlockSequence
from distmtl.data.windows import BlockDecoder, BlockSplit, combine, slice_rows


def sweep(
    split: BlockSplit, decoder: BlockDecoder, source: str, rank: int, size: int, batch_rows: int
) -> Iterator[SourceBatch]:
    """A worker's rows of a split, in row order; the workers' shares follow one on another and differ by one row.

    Reads the blocks that hold the share, each once and one at a time.

    Args:
        split: The split.
        decoder: Turns its blocks into tensors.
        source: The source's name.
        rank: The worker.
        size: The number of workers.
        batch_rows: Rows of a batch; the last may have fewer.

    Yields:
        Batches whose ``positions`` are row numbers of the split.
    """
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
        columns = parts[0] if len(parts) == 1 else combine(parts, torch.cat)
        yield SourceBatch(source, columns.inputs, columns.targets, columns.weights, torch.arange(first, last))
