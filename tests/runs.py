"""A small run over two packed sources: missing features and labels, text classes, row weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.run import open_run_uri
from distmtl.config.load import parse_config
from distmtl.config.run import RunConfig
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.observe.metrics_log import read_metrics
from distmtl.parallel.world import Solo
from distmtl.store import open_store

ROWS = {"shop": 700, "news": 260}
"""Train rows of the sources; valid and test have a fifth each."""


def write_sources(folder: Path, valid: Mapping[str, int] | None = None) -> dict[str, str]:
    """Make and pack both sources, with so many rows to validate on; returns their URIs by name."""
    for number, (name, rows) in enumerate(ROWS.items()):
        measured = rows // 5 if valid is None else valid[name]
        for split, count in (("train", rows), ("valid", measured), ("test", rows // 5)):
            path = folder / "raw" / name / f"{split}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            pq.write_table(_table(count, seed=10 * number + len(split)), path)
        pack([str(folder / "raw" / name)], str(folder / name), PackOptions(block_rows=32))
    return {name: str(folder / name) for name in ROWS}


def _table(rows: int, seed: int) -> pa.Table:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    city = rng.choice(["Bonn", "Köln", "Ulm"], rows)
    hidden = rng.random((4, rows)) < 0.3
    topic = np.where(x[:, 2] > 0.4, "sport", np.where(x[:, 2] > -0.4, "art", "law"))
    return pa.table(
        {
            "a": pa.array(x[:, 0], mask=hidden[0]),
            "b": x[:, 1],
            "c": x[:, 2],
            "city": pa.array(city, mask=hidden[1]),
            "importance": rng.random(rows) + 0.5,
            "click": pa.array((x[:, 0] + 0.3 * rng.normal(size=rows) > 0).astype(np.int64), mask=hidden[2]),
            "price": 20 + 7 * x[:, 1] + (city == "Ulm") + rng.normal(size=rows),
            "topic": pa.array(topic, mask=hidden[3]),
        }
    )


def run_config(uris: Mapping[str, str], store: Path | str, **sections: Any) -> RunConfig:
    """The run file; ``sections`` replace or extend its sections."""
    inputs = {"dense": ["a", "b", "c"], "categorical": ["city"]}
    values: dict[str, Any] = {
        "name": "small",
        "seed": 5,
        "sources": {
            "shop": {"uri": uris["shop"], "inputs": inputs, "weight": "importance"},
            "news": {"uri": uris["news"], "inputs": inputs},
        },
        "tasks": {
            "click": {"source": "shop", "target": "click", "kind": "binary"},
            "price": {"source": "shop", "target": "price", "kind": "regression", "weight": 0.5},
            "topic": {"source": "news", "target": "topic", "kind": "multiclass"},
        },
        "model": {"kind": "hard_sharing", "trunk": {"kind": "tabular_mlp", "hidden": [16, 8], "dropout": 0.1}},
        "sampling": {"kind": "temperature", "tau": 2.0},
        "balancing": {"kind": "uncertainty"},
        "batch": {"rows": 50, "lanes": 6, "window_blocks": 2},
        "optim": {"kind": "adamw", "lr": 0.005, "clip_norm": 1.0, "schedule": {"kind": "cosine", "warmup_steps": 5}},
        "train": {"steps": 60, "log_every": 1, "eval_every": 30, "precision": "fp64"},
        "checkpoint": {"every": 20, "keep_last": 20},
        "store": str(store),
        "launch": {"runtime": "inline", "workers": 1},
    }
    for name, section in sections.items():
        values[name] = (
            {**values.get(name, {}), **section} if isinstance(section, dict) and "kind" not in section else section
        )
    return parse_config(values)


def curve(uri: str) -> dict[int, dict[str, Any]]:
    """Training lines of a run by step."""
    return {line["step"]: line for line in read_metrics(open_store(uri)) if line["split"] == "train"}


def losses(uri: str) -> np.ndarray:
    """Objective and loss of every task by step; NaN where a task was absent ``[steps, 1 + T]``."""
    tasks = ("click", "price", "topic")
    lines = [line for _, line in sorted(curve(uri).items())]
    return np.array(
        [[line["loss"], *(line["tasks"].get(task, {}).get("loss", np.nan) for task in tasks)] for line in lines]
    )


def tensors(uri: str) -> dict[str, torch.Tensor]:
    """Everything that the last checkpoint of a run holds: parameters and optimizer state."""
    run = open_run_uri(uri)
    return dict(load(run, find(run)[0], Solo()).tensors)
