"""Small packed sources, and run files that read them."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from distmtl.config import RunConfig, parse_config
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack


def columns(rows: int, seed: int = 0) -> dict[str, Any]:
    random = np.random.default_rng(seed)
    return {
        "age": random.normal(size=rows),
        "city": random.choice(["a", "b", "c"], rows),
        "y": np.arange(rows) % 2,
        "z": random.normal(size=rows),
        "color": random.choice(["red", "green", "blue"], rows),
        "three": np.arange(rows) % 3,
    }


def packed(folder: Path, name: str, train: dict[str, Any], valid: dict[str, Any] | None = None) -> str:
    files = {"train": train} | ({} if valid is None else {"valid": valid})
    inputs = {}
    for split, values in files.items():
        path = folder / f"{name}-{split}.parquet"
        pq.write_table(pa.table(values), path)
        inputs[split] = [str(path)]
    pack(inputs, str(folder / name), PackOptions(block_rows=16))
    return str(folder / name)


def config(folder: Path, names: tuple[str, ...] = ("big", "small"), **changed: Any) -> RunConfig:
    values: dict[str, Any] = {
        "name": "run",
        "sources": {
            name: {"uri": str(folder / name), "inputs": {"dense": ["age"], "categorical": ["city"]}} for name in names
        },
        "tasks": {f"y_{name}": {"source": name, "target": "y", "kind": "binary"} for name in names},
        "batch": {"rows": 32},
        "train": {"steps": 5},
    }
    return parse_config(values | changed)
