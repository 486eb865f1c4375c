"""What a worker pays to know its rows of a step, at 10^12 rows, 16 sources and 10,000 workers.

Measures, for workers and steps spread over the run: the CPU time and the peak memory of a step's segments (every step),
and the CPU time per row of locating a whole window (whenever a lane needs its next one).

    python benchmarks/plan.py [--check] [--quick]
"""

import argparse
import json
import statistics
import sys
import time
import tracemalloc

from distmtl.data.mixture import Mixture
from distmtl.data.plan import Layout, Plan

ROWS = 10**12
BLOCK_ROWS = 65_536
SOURCES = 16
WORKERS = 10_000
STEP_ROWS = 1_280_000
LANES = 10_080
STEPS = 2_000_000
MIXTURE_ENTRIES = 1_000
TARGETS = {"segments_ms": 1.0, "segments_mib": 8.0}
"""Upper bounds for one worker's step."""


def main() -> int:
    """Measure, print a table and one JSON object; returns the exit code."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--check", action="store_true", help="exit 1 beyond the targets")
    arguments.add_argument("--quick", action="store_true", help="fewer workers and steps")
    options = arguments.parse_args()
    plan, mixture = _plan(), _mixture()
    # Two passes and a half of the sources, under all entries; workers from every part of the list.
    count = 200 if options.quick else 2_000
    samples = [(STEPS * i // count, 17 * i % WORKERS) for i in range(count)]
    measured = {
        "segments_ms": _segments_ms(plan, mixture, samples),
        "segments_mib": _segments_mib(plan, mixture, samples[:100]),
    }
    window_ns = _window_ns_per_row(plan, 5 if options.quick else 20)
    print(f"{ROWS:,} rows, {SOURCES} sources, {WORKERS:,} workers, {LANES:,} lanes, {STEP_ROWS:,} rows per step")
    print(f"{'one worker, one step':22} {'measured':>10} {'target':>8} {'ratio':>7}")
    ratios = {name: measured[name] / target for name, target in TARGETS.items()}
    for name, target in TARGETS.items():
        print(f"{name:22} {measured[name]:10.4f} {target:8.1f} {ratios[name]:7.3f}")
    print(f"{'window, ns per row':22} {window_ns:10.1f}")
    print(json.dumps({"ratios": ratios, **measured, "window_ns_per_row": window_ns}))
    return 1 if options.check and max(ratios.values()) > 1 else 0


def _plan() -> Plan:
    blocks = ROWS // SOURCES // BLOCK_ROWS
    short = tuple((blocks * i // 8, 1000 + i) for i in range(8))  # as after eight appends
    rows = (blocks - len(short)) * BLOCK_ROWS + sum(rows for _, rows in short)
    layouts = tuple(Layout(f"source-{i}", rows, BLOCK_ROWS, blocks, short) for i in range(SOURCES))
    return Plan(layouts, LANES, window_blocks=4, seed=0)


def _mixture() -> Mixture:
    """An adaptive sampler's log at the end of a long run."""
    mixture = Mixture.constant({f"source-{i}": 2**40 for i in range(SOURCES)}, STEP_ROWS)
    for entry in range(1, MIXTURE_ENTRIES):
        mixture = mixture.extended(STEPS // MIXTURE_ENTRIES * entry, [2**40 + (i + 1) * entry for i in range(SOURCES)])
    return mixture


def _segments_ms(plan: Plan, mixture: Mixture, samples: list[tuple[int, int]]) -> float:
    """Median CPU time."""
    times = []
    for step, rank in samples:
        start = time.process_time_ns()
        plan.segments(mixture, step, rank, WORKERS)
        times.append(time.process_time_ns() - start)
    return statistics.median(times) / 1e6


def _segments_mib(plan: Plan, mixture: Mixture, samples: list[tuple[int, int]]) -> float:
    """Peak of what Python and NumPy allocate, the result included."""
    tracemalloc.start()
    for step, rank in samples:
        plan.segments(mixture, step, rank, WORKERS)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 2**20


def _window_ns_per_row(plan: Plan, windows: int) -> float:
    rows, start = 0, time.process_time_ns()
    for number in range(windows):
        window = plan.window(number % SOURCES, 17 * number % LANES, 1_000_003 * number)
        rows += window.order().size
    return (time.process_time_ns() - start) / rows


if __name__ == "__main__":
    sys.exit(main())
