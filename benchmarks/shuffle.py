"""How well a small window shuffles rows that were packed sorted by class.

A batch of 8,192 rows of 100 equally large classes is compared with the classes of all rows: total variation, the mean
over batches of one pass. An ideal shuffle is a random draw of 8,192 rows without replacement. The plan alone decides,
so no rows are read: 4 million rows in blocks of 4,096, which at 2 KB a row are blocks of 8 MiB.

    python benchmarks/shuffle.py [--check] [--quick]
"""

import argparse
import json
import sys
from itertools import product

import numpy as np

from distmtl.data.cuts import plan_steps
from distmtl.data.mixture import Mixture
from distmtl.data.permute import key, permute
from distmtl.data.plan import Layout, Plan
from distmtl.data.specs import BatchSpec

ROWS, BLOCK_ROWS, CLASSES, BATCH = 2**22, 4096, 100, 8192
BLOCK_BYTES = 8 * 2**20
TARGET = 2.5
"""Total variation over that of an ideal shuffle, at default settings."""
POOL_BYTES = 2**30
"""What the open windows of one worker may have."""


def main() -> int:
    """Measure, print a table and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 above the target")
    arguments.add_argument("--quick", action="store_true", help="fewer batches")
    options = arguments.parse_args()
    batches = 8 if options.quick else 64
    kept = np.arange(ROWS) * CLASSES // ROWS
    shuffled = kept[permute(np.arange(ROWS), ROWS, key(0, "pack", "order"))]  # as packing does it
    default = BatchSpec()
    ideal = float(np.mean([_variation(np.random.default_rng(i).choice(kept, BATCH, replace=False)) for i in range(8)]))
    print(f"{'packed':8} {'lanes':>6} {'window':>7} {'pool MiB':>9} {'variation':>10} {'x ideal':>8}")
    results = {"ideal": ideal}
    settings = [("shuffle", default.lanes, default.window_blocks)]
    settings += [("keep", lanes, window) for lanes, window in product((1, 16, 64), (1, 4, 16))]
    for packed, lanes, window in settings:
        found = _measure(shuffled if packed == "shuffle" else kept, lanes, window, batches)
        pool = lanes * window * BLOCK_BYTES
        print(f"{packed:8} {lanes:6} {window:7} {pool >> 20:9} {found:10.3f} {found / ideal:8.2f}")
        results[f"{packed}/{lanes}/{window}"] = found
    print(f"an ideal shuffle: {ideal:.3f}")
    print(json.dumps(results))
    reached = results[f"shuffle/{default.lanes}/{default.window_blocks}"] / ideal
    held = default.lanes * default.window_blocks * BLOCK_BYTES
    return 1 if options.check and (reached > TARGET or held > POOL_BYTES) else 0


def _measure(classes: np.ndarray, lanes: int, window: int, batches: int) -> float:
    """Mean total variation of batches spread over the first pass."""
    plan = Plan((Layout("sorted", ROWS, BLOCK_ROWS, ROWS // BLOCK_ROWS),), lanes, window, 0)
    mixture = Mixture.constant({"sorted": 1}, BATCH)
    found = []
    for step in np.linspace(0, ROWS // BATCH - 1, batches).astype(int).tolist():
        cuts = plan_steps(plan, mixture, step, 1, 0, 1).cuts[0]
        rows = []
        for lane, first, count in zip(cuts.lane.tolist(), cuts.first.tolist(), cuts.rows.tolist(), strict=True):
            blocks, row = plan.locate(0, lane, np.arange(first, first + count))
            rows.append(blocks * BLOCK_ROWS + row)
        found.append(_variation(classes[np.concatenate(rows)]))
    return float(np.mean(found))


def _variation(classes: np.ndarray) -> float:
    """Total variation between the classes of some rows and the uniform distribution."""
    return 0.5 * float(np.abs(np.bincount(classes, minlength=CLASSES) / len(classes) - 1 / CLASSES).sum())


if __name__ == "__main__":
    sys.exit(main())
