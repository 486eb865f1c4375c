"""Rows per CPU-second of the loader, against the raw limit and against other loaders, on the same rows.

Two data sets: *rows*, 200,000 of 588 bytes, where every loader that touches rows one by one in Python is slow, and
*blobs*, 5,000 of 100 KB, where copies decide. Every batch that a loader hands out is read once (its bytes are added
up), so that nobody is paid for memory it did not touch. Each measurement runs in a process of its own, by turns over
the rounds; the time is the CPU time of the process and all its threads, start-up and one warm batch excluded.

    python benchmarks/loader.py [--check] [--quick] [--only NAME,...]

Loaders that are not installed are left out and named; ``make bench-peers`` installs them in ``.venv-peers`` and
measures all of them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "ARROW_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 - threads are set first

sys.path.insert(0, str(Path(__file__).parent))

import loader_peers  # noqa: E402
from loader_data import BATCH, SHAPES, make  # noqa: E402

LIMITS = {"rows": "parquet", "blobs": "arrow-mmap"}
"""The raw read that counts as 1: Parquet row groups one after the other, and Arrow IPC over a memory map."""

TARGETS = {
    ("rows", "distmtl"): 0.5,
    ("rows", "distmtl-mix4"): 0.35,
    ("blobs", "distmtl"): 0.6,
}
EXACT_PEERS = ("grain", "mosaic", "litdata", "torch")
"""Loaders that shuffle all rows and claim an exact resume."""

PEER_FACTOR = 20.0
"""The loader on small rows over the best of them."""

SECONDS = 3.0
"""CPU time that a measurement takes at least, or one epoch."""


def main() -> int:
    """Measure, print a table and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 below the targets")
    arguments.add_argument("--quick", action="store_true", help="one round without the slow loaders, under 60 s")
    arguments.add_argument("--only", default="", help="loaders to measure, by name")
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    arguments.add_argument("--data", help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if options.one:
        print(json.dumps(_measure(options.one, options.data)))
        return 0
    names = options.only.split(",") if options.only else [*loader_peers.READERS]
    rounds = 1 if options.quick else 5
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for data in SHAPES:
            make(Path(folder), data)
            results[data] = _compare(data, names, folder, rounds, quick=options.quick)
    print(json.dumps(results))
    missed = _missed(results)
    for line in missed:
        print(line, file=sys.stderr)
    return 1 if options.check and missed else 0


def _compare(data: str, names: list[str], folder: str, rounds: int, *, quick: bool) -> dict[str, float]:
    chosen = dict.fromkeys([LIMITS[data], *names])
    rates: dict[str, list[float]] = {name: [] for name in chosen}
    absent: dict[str, str] = {}
    for _ in range(rounds):
        for name in chosen:
            if name in absent or (quick and name in loader_peers.SLOW):
                continue
            found = _run(name, str(Path(folder) / data))
            if "rate" in found:
                rates[name].append(found["rate"])
            else:
                absent[name] = found["absent"]
    limit = statistics.median(rates[LIMITS[data]])
    print(f"\n{data}: {SHAPES[data].rows:,} rows of {SHAPES[data].bytes:,} bytes, batch {BATCH[data]}")
    print(f"{'loader':22} {'rows/CPU-s':>12} {'ratio':>8} {'lowest':>8} {'highest':>8}")
    ratios = {}
    for name, values in rates.items():
        if not values:
            continue
        of_round = [value / limit for value in values]
        middle, low, high = statistics.median(of_round), min(of_round), max(of_round)
        ratios[name] = middle
        print(f"{name:22} {statistics.median(values):12,.0f} {middle:8.4g} {low:8.4g} {high:8.4g}")
    for name, why in absent.items():
        print(f"{name:22} left out: {why}")
    return ratios


def _run(name: str, data: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", name, "--data", data]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"absent": (done.stderr.strip().splitlines() or ["it failed"])[-1][:150]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _measure(name: str, data: str) -> dict[str, Any]:
    """Rows per CPU-second of one loader in this process."""
    open_reader: Callable[[Path], Iterator[tuple[int, list[np.ndarray]]]] = loader_peers.READERS[name]
    path = Path(data)
    try:
        batches = open_reader(path)
        next(batches)
    except ImportError as error:
        return {"absent": f"{error.name or error} is not installed"}
    rows = 0
    started = time.process_time()
    for count, arrays in batches:
        for array in arrays:
            _touch(array)
        rows += count
        if time.process_time() - started > SECONDS and rows >= loader_peers.LEAST_ROWS:
            break
    return {"rate": rows / (time.process_time() - started), "rows": rows}


def _touch(array: np.ndarray) -> int:
    """Read every byte once, as a training step would."""
    flat = array.reshape(-1)
    whole = flat.view(np.uint64 if flat.nbytes % 8 == 0 else np.uint8)
    return int(np.bitwise_xor.reduce(whole))


def _missed(results: dict[str, dict[str, float]]) -> list[str]:
    missed = [
        f"{data}: {name} is at {results[data][name]:.3f} of {LIMITS[data]}, the target is {target}"
        for (data, name), target in TARGETS.items()
        if name in results[data] and results[data][name] < target
    ]
    best = max((results["rows"].get(name, 0.0) for name in EXACT_PEERS), default=0.0)
    ours = results["rows"].get("distmtl", 0.0)
    if best and ours < PEER_FACTOR * best:
        missed.append(f"rows: distmtl is {ours / best:.1f} times the best exact peer, the target is {PEER_FACTOR:g}")
    return missed


if __name__ == "__main__":
    sys.exit(main())
