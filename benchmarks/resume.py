"""CPU time to the first batch when a loader starts in the middle of a pass, against a fresh start.

Each start is a process of its own, by turns; imports are excluded, opening the sources is included. Sources of four
sizes are mixed, so that some lie in memory whole and some are read by windows.

    python benchmarks/resume.py [--check] [--quick]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

TARGET = 1.1
ROWS = {"a": 400_000, "b": 100_000, "c": 20_000, "d": 500}
WIDTH = 64
"""Numbers of 4 bytes in a row's tensor."""
BATCH = 256


def main() -> int:
    """Measure, print one line and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 above the target")
    arguments.add_argument("--quick", action="store_true", help="fewer starts")
    arguments.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments.add_argument("--data", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one is not None:
        print(_start(options.data, options.one))
        return 0
    middle = sum(ROWS.values()) // BATCH // 2
    times: dict[int, list[float]] = {0: [], middle: []}
    with tempfile.TemporaryDirectory() as folder:
        _make(folder)
        for _ in range(5 if options.quick else 30):
            for step, found in times.items():
                command = [sys.executable, __file__, "--one", str(step), "--data", folder]
                found.append(float(subprocess.run(command, capture_output=True, check=True, text=True).stdout))
    fresh, resumed = (statistics.median(found) for found in times.values())
    ratios = sorted(b / a for a, b in zip(*times.values(), strict=True))
    ratio = statistics.median(ratios)
    print(f"first batch: fresh {fresh * 1e3:.0f} ms of CPU, at step {middle} {resumed * 1e3:.0f} ms, ratio {ratio:.2f}")
    print(json.dumps({"fresh_s": fresh, "resumed_s": resumed, "ratio": ratio}))
    return 1 if options.check and ratio > TARGET else 0


def _make(folder: str) -> None:
    from distmtl.data import PackOptions, pack

    random = np.random.default_rng(0)
    for name, rows in ROWS.items():
        values = pa.FixedSizeListArray.from_arrays(pa.array(random.standard_normal(rows * WIDTH, np.float32)), WIDTH)
        table = pa.table({"x": values, "y": pa.array(random.integers(0, 2, rows))})
        pq.write_table(table, f"{folder}/{name}.parquet")
        pack([f"{folder}/{name}.parquet"], f"{folder}/{name}", PackOptions(fractions={"train": 1.0}, block_rows=2048))


def _start(folder: str, step: int) -> float:
    """CPU seconds from nothing to a batch."""
    from distmtl.data import open_loader
    from distmtl.data.specs import BatchSpec, SourceSpec

    sources = {name: SourceSpec(uri=str(Path(folder) / name), inputs={"x": "x"}) for name in ROWS}
    started = time.process_time()
    targets = {name: {"y": "binary"} for name in ROWS}
    with open_loader(sources, targets, BatchSpec(rows=BATCH, lanes=8, window_blocks=2), start=step) as loader:  # type: ignore[arg-type]
        next(loader)
        return time.process_time() - started


if __name__ == "__main__":
    sys.exit(main())
