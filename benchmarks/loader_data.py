"""The rows that benchmarks/loader.py reads, in every form that a loader wants them in."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Shape:
    """Rows of one tensor and, in small rows, a second tensor and two labels."""

    rows: int
    width: int
    small: bool

    @property
    def bytes(self) -> int:
        """Bytes of one row."""
        return self.width + (76 if self.small else 4)


SHAPES = {"rows": Shape(200_000, 512, small=True), "blobs": Shape(5_000, 100_000, small=False)}
BATCH = {"rows": 256, "blobs": 64}
MIX = 4
"""Sources that the mixed reading draws from."""


def make(folder: Path, data: str) -> None:
    """Write a data set below ``folder / data``: rows.parquet, rows.arrow and packed sources; peers add their own."""
    from distmtl.data import PackOptions, pack

    target = folder / data
    target.mkdir()
    table = _table(SHAPES[data])
    plain = target / "rows.parquet"
    pq.write_table(table, plain, row_group_size=4096 if SHAPES[data].small else 64, use_dictionary=False,
                   compression="none", write_statistics=False)  # fmt: skip
    with pa.OSFile(str(target / "rows.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4096 if SHAPES[data].small else 64)
    options = PackOptions(compression="none", fractions={"train": 1.0})
    pack([str(plain)], str(target / "source"), options)
    part = table.num_rows // MIX
    for number in range(MIX):
        pq.write_table(table.slice(number * part, part), target / f"part{number}.parquet", compression="none")
        pack([str(target / f"part{number}.parquet")], str(target / f"source{number}"), options)


def _table(shape: Shape) -> pa.Table:
    random = np.random.default_rng(0)
    labels = random.integers(0, 2, shape.rows).astype(np.int32)
    columns: dict[str, pa.Array] = {"x": _binary(random.bytes(shape.rows * shape.width), shape.rows, shape.width)}
    fields = [pa.field("x", columns["x"].type, nullable=False, metadata=_layout("uint8", shape.width))]
    if shape.small:
        dense = random.standard_normal((shape.rows, 16), dtype=np.float32)
        columns["d"] = _binary(dense.tobytes(), shape.rows, 64)
        fields.append(pa.field("d", columns["d"].type, nullable=False, metadata=_layout("float32", 16)))
        columns["y2"] = pa.array(random.standard_normal(shape.rows))
        fields.append(pa.field("y2", pa.float64()))
    columns["y"] = pa.array(labels)
    fields.append(pa.field("y", pa.int32()))
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _binary(data: bytes, rows: int, width: int) -> pa.Array:
    return pa.Array.from_buffers(pa.binary(width), rows, [None, pa.py_buffer(data)])


def _layout(dtype: str, *shape: int) -> dict[str, str]:
    return {"dtype": dtype, "shape": "x".join(map(str, shape))}
