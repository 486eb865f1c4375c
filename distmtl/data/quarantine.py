"""Training without blocks that cannot be read: which ones, and what stands in for them.

The list of such blocks is part of a run's state, like the mixture log. What is read in place of a block follows from
the list alone, so a resumed run, at any world size, reads what the first one read.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from distmtl.data.blocks import BlockSplit
from distmtl.data.permute import key, permute
from distmtl.errors import CorruptBlockError


class Quarantined(NamedTuple):
    """A block of a train split that could not be read.

    ``first_step`` is the step from which on the run does without it.
    """

    first_step: int
    source: str
    block: int


class Quarantine:
    """The blocks that a run does without. All workers add the same ones before the same step.

    Args:
        seed: The run's seed.
        max_blocks: Most blocks that may be added; 0: none.

    Attributes:
        entries: The blocks, in the order in which they were added.
    """

    def __init__(self, seed: int, max_blocks: int = 0) -> None:
        self.max_blocks = max_blocks
        self.entries: tuple[Quarantined, ...] = ()
        self._seed = seed

    @property
    def is_full(self) -> bool:
        """Whether no block may be added."""
        return len(self.entries) >= self.max_blocks

    def add(self, entry: Quarantined) -> None:
        """Do without a block. No loader may be reading."""
        self.entries = (*self.entries, entry)

    def stand_in(self, source: str, block: int, blocks: int) -> int:
        """The block to read where the plan names ``block``: itself, or the first good one of an order of its own.

        Args:
            source: The source's name in the run.
            block: The block.
            blocks: Number of blocks of its split.

        Raises:
            CorruptBlockError: No block is left.
        """
        bad = {entry.block for entry in self.entries if entry.source == source}
        if block not in bad:
            return block
        order = key(self._seed, "quarantine", source, block)
        for attempt in range(blocks):
            found = int(permute([attempt], blocks, order)[0])
            if found not in bad:
                return found
        raise CorruptBlockError("no block of split 'train' can be read.", f"source '{source}'")

    def state(self) -> list[list[Any]]:
        """The entries as plain JSON."""
        return [list(entry) for entry in self.entries]

    def load(self, state: Sequence[Sequence[Any]]) -> None:
        """Go on from :meth:`state`."""
        self.entries = tuple(Quarantined(int(step), str(source), int(block)) for step, source, block in state)


class QuarantinedSplit:
    """A train split, with other rows in place of those in quarantined blocks; its layout is the split's own.

    Args:
        name: The source's name in the run.
        split: The split.
        quarantine: The blocks to do without.
    """

    def __init__(self, name: str, split: BlockSplit, quarantine: Quarantine) -> None:
        self.rows, self.block_rows = split.rows, split.block_rows
        self.blocks, self.short_blocks = split.blocks, split.short_blocks
        self._name, self._split, self._quarantine = name, split, quarantine

    def read_block(self, index: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of a block, or as many rows of another one, repeated where that one is shorter.

        Raises:
            CorruptBlockError: The block that was to be read cannot be; ``place`` says which.
            SourceError: There is no such column, or the whole source is gone.
            StoreError: The store cannot be read.
        """
        block = self._quarantine.stand_in(self._name, index, self.blocks)
        try:
            table = self._split.read_block(block, columns)
        except CorruptBlockError as error:
            named = CorruptBlockError(error.what, f"source '{self._name}': {error.where}", error.remedy)
            named.place = self._name, block
            raise named from error
        if block == index:
            return table
        rows = dict(self.short_blocks).get(index, self.block_rows)
        return table.take(np.arange(rows) % table.num_rows)
