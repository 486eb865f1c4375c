"""Rows of every kind, as inputs that are cut into batches wherever a test wants."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash


@dataclass(frozen=True)
class CutInput:
    """A table as batches that end at ``cuts``."""

    table: pa.Table
    cuts: tuple[int, ...] = ()
    path: str = "rows"
    text: bool = False
    notes: tuple[str, ...] = field(default=())

    @property
    def schema(self) -> pa.Schema:
        return self.table.schema

    def batches(self) -> Iterator[pa.RecordBatch]:
        ends = sorted({cut for cut in self.cuts if 0 < cut < self.table.num_rows} | {self.table.num_rows})
        start = 0
        for end in ends:
            yield from self.table.slice(start, end - start).combine_chunks().to_batches()
            start = end

    def fingerprint(self) -> str:
        return xxhash.xxh3_64_hexdigest(repr(self.table.to_pydict()).encode())


def mixed_table(rows: int, seed: int = 0) -> pa.Table:
    """Columns of every kind, with nulls, NaN, both zeros, infinities, and names of which some are rare."""
    random = np.random.default_rng(seed)
    floats = random.normal(0, 1, rows)
    floats[random.random(rows) < 0.1] = np.nan
    floats[random.random(rows) < 0.1] = -0.0
    floats[random.random(rows) < 0.1] = 0.0
    missing = random.random(rows) < 0.2
    words = [f"w{int(x)}" for x in random.exponential(20, rows)]
    lengths = random.integers(0, 5, rows)
    columns = {
        "float": pa.array(floats),
        "double": pa.array(1e9 + floats, mask=missing),
        "int": pa.array(random.integers(-(2**40), 2**40, rows), mask=missing),
        "label": pa.array(random.integers(0, 2, rows)),
        "word": pa.array(words, mask=missing),
        "group": pa.array([f"g{int(x)}" for x in random.exponential(5, rows)]),
        "note": pa.array([f"text {i} é" * (i % 3) for i in range(rows)], mask=missing),
        "raw": pa.array([bytes([i % 256]) * int(n) for i, n in enumerate(lengths)], pa.binary(), mask=missing),
        "ragged": pa.array(
            [None if gone else random.normal(size=int(n)).tolist() for n, gone in zip(lengths, missing, strict=True)],
            pa.list_(pa.float64()),
        ),
        "tensor": pa.array(random.integers(0, 255, (rows, 3)).tolist(), pa.list_(pa.uint8())),
    }
    return pa.table(columns)


def write_table(folder: Path, name: str, table: pa.Table) -> str:
    """A Parquet file with several row groups."""
    path = folder / name
    pq.write_table(table, path, row_group_size=max(1, table.num_rows // 5))
    return str(path)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file under a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
