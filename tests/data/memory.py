"""A packed split that lives in memory: the loader's two protocols over NumPy arrays."""

import threading
from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import torch

from distmtl.data.blocks import LoaderSource
from distmtl.data.decode import Decoded
from distmtl.data.plan import Layout


@dataclass
class MemorySplit:
    """Row r has the number r; blocks are read from anywhere, and counted."""

    rows: int
    block_rows: int
    short_blocks: tuple[tuple[int, int], ...] = ()
    reads: Counter[int] = field(default_factory=Counter)
    broken: dict[int, Exception] = field(default_factory=dict)
    gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self):
        missing = sum(self.block_rows - rows for _, rows in self.short_blocks)
        self.blocks, rest = divmod(self.rows + missing, self.block_rows)
        if rest:
            self.short_blocks = (*self.short_blocks, (self.blocks, rest))
            self.blocks += 1
        short = dict(self.short_blocks)
        self.starts = np.cumsum([0] + [short.get(block, self.block_rows) for block in range(self.blocks)])
        self.gate.set()

    def read_block(self, index, columns):
        self.reads[index] += 1
        self.gate.wait()
        if index in self.broken:
            raise self.broken[index]
        numbers = np.arange(*self.starts[index : index + 2])
        return pa.table(dict.fromkeys(columns, numbers))


class NumberDecoder:
    """Every column is the row's number."""

    columns = ("row",)

    def decode(self, table):
        row = torch.from_numpy(table["row"].to_numpy().copy())
        return Decoded({"x": torch.stack([row, -row], 1).float(), "image": row.repeat_interleave(6).view(-1, 2, 3)},
                       {"y": row}, row.double())  # fmt: skip


def memory_source(name, rows, block_rows, short_blocks=()):
    return LoaderSource(name, MemorySplit(rows, block_rows, short_blocks), NumberDecoder())


def layouts(sources):
    return tuple(Layout.of(source.name, source.split) for source in sources)
