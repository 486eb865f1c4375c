"""MultiMNIST over seeds: what balancing brings to one small trunk and two digits, beside a trunk for each digit.

Every run is ``configs/multimnist.yaml`` with a smaller trunk (under 100,000 parameters), one worker in a process of its
own, and one thread; only ``balancing`` differs, and for the single-task runs the tasks. The learning rate was chosen on
the valid split with equal weights. DISTMTL_DATA names the folder of the packed source, as it does for the run file.

    python benchmarks/multimnist.py [--quick] [--check] [--seeds N,...] [--jobs N] [--only KIND,...] [--set K=V]...

``--check`` ends with 1 if a run diverged, or if no method is better than the single-task runs on both digits. The last
line is JSON.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TRUNK = ROOT / "examples" / "multimnist"
TASKS = ("left", "right")
KINDS = ("equal", "uncertainty", "pcgrad", "mgda", "cagrad", "nash_mtl", "upgrad")
QUICK_KINDS = ("equal", "upgrad")
ALONE = "alone"
"""The single-task runs: the same trunk and head for one digit, the other task left out."""
SETTINGS = (
    "model.trunk.args={channels: 8, width: 96}",
    "batch.rows=64",
    "optim.lr=4e-3",
    "train.passes=4",
    "train.log_every=10",
    "train.eval_every=null",
    "checkpoint.every=1000000",
    "launch.runtime=inline",
    "launch.workers=1",
)
QUICK = ("train.passes=0.3",)
COSINES = "cosines"
FAILED = 2.0
"""A mean loss above it is that of a run that has diverged or learned next to nothing; ln 10 is a guess."""

Scores = dict[str, dict[str, float]]
"""Accuracy and loss by task; under ``COSINES`` what the metrics said of the angle between the two gradients."""


def main() -> int:
    """Train, print a table and one JSON object; returns the exit code."""
    options = _options()
    if options.one is not None:
        print(json.dumps(_train(options.one, options.seed, options.folder, options.split, options.overrides)))
        return 0
    kinds = options.only.split(",") if options.only else list(QUICK_KINDS if options.quick else KINDS)
    overrides = [*(QUICK if options.quick else ()), *options.overrides]
    seeds = [int(seed) for seed in options.seeds.split(",")][: 1 if options.quick else None]
    columns = [f"{ALONE}:{task}" for task in TASKS] + kinds
    runs = [(column, seed) for seed in seeds for column in columns]
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as pool:
        scores = list(pool.map(lambda run: _start(run[0], run[1], folder, options.split, overrides), runs))
    found: dict[str, list[Scores]] = {}
    for (column, _), score in zip(runs, scores, strict=True):
        found.setdefault(column, []).append(score)
    table = _table(found)
    failed = [column for column, row in table.items() if not row["learned"]]
    better = [kind for kind in kinds if _beats(table, kind)]
    _show(table, options.split, len(seeds))
    print(f"better than alone on both digits: {', '.join(better) or 'none'}; diverged: {', '.join(failed) or 'none'}")
    print(json.dumps({"methods": table, "better": better, "diverged": failed, "seeds": len(seeds)}))
    return 1 if options.check and (failed or not better) else 0


def _options() -> argparse.Namespace:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--quick", action="store_true", help="two methods, one seed, few steps; under 60 s")
    arguments.add_argument("--check", action="store_true", help="exit 1 if a run diverged or none beats single tasks")
    arguments.add_argument("--seeds", default="0,1,2", metavar="N,...")
    arguments.add_argument("--jobs", type=int, default=1, metavar="N", help="runs at a time, one core each")
    arguments.add_argument("--only", metavar="KIND,...", help="these methods, beside the single-task runs")
    arguments.add_argument("--split", default="test", choices=("valid", "test"), help="what is measured")
    arguments.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    for hidden in ("--one", "--folder"):
        arguments.add_argument(hidden, help=argparse.SUPPRESS)
    arguments.add_argument("--seed", type=int, help=argparse.SUPPRESS)
    options = arguments.parse_args()
    if not os.environ.get("DISTMTL_DATA"):
        arguments.error("DISTMTL_DATA is not set; examples/multimnist/README.md says what lies there.")
    return options


def _start(column: str, seed: int, folder: str, split: str, overrides: Sequence[str]) -> Scores:
    """One run in a process of its own."""
    command = [sys.executable, __file__, "--one", column, "--seed", str(seed), "--folder", folder, "--split", split]
    command += [part for override in overrides for part in ("--set", override)]
    paths = os.pathsep.join(filter(None, (str(TRUNK), os.environ.get("PYTHONPATH"))))
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    output = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True, env=environment).stdout
    line = output.splitlines()[-1]
    print(f"{column:12} seed {seed} {line}", file=sys.stderr, flush=True)
    scores: Scores = json.loads(line)
    return scores


def _train(column: str, seed: int, folder: str, split: str, overrides: Sequence[str]) -> Scores:
    """Train one run and measure it."""
    import distmtl
    from distmtl.errors import TrainingStopped

    kind, _, task = column.partition(":")
    fixed = [f"name={column.replace(':', '-')}-{seed}", f"seed={seed}", f"store={folder}"]
    if not task:
        fixed.append(f"balancing.kind={kind}")
    config = distmtl.load_config(ROOT / "configs" / "multimnist.yaml", [*SETTINGS, *fixed, *overrides])
    if task:
        config = config.model_copy(update={"tasks": {task: config.tasks[task]}})
    try:
        run = distmtl.train(config, resume="never")
    except TrainingStopped:  # a loss was NaN or infinite
        return {name: {"accuracy": 0.0, "loss": math.inf} for name in config.tasks}
    measured = run if split == run.split else distmtl.evaluate(run.run, split=split)
    scores = {name: {key: scores[key] for key in ("accuracy", "loss")} for name, scores in measured.tasks.items()}
    cosines = _cosines(Path(run.run))
    if cosines:
        scores[COSINES] = {"mean": statistics.mean(cosines), "opposed": statistics.mean(c < 0 for c in cosines)}
    return scores


def _cosines(run: Path) -> list[float]:
    """The cosine between the gradients of the two tasks in the steps that have a line of metrics."""
    lines = (json.loads(line) for file in run.glob("metrics-*.jsonl") for line in file.read_text().splitlines())
    return [line["gradients"]["cosines"][0][1] for line in lines if len(line.get("gradients", {}).get("tasks", ())) > 1]


def _table(found: Mapping[str, Sequence[Scores]]) -> dict[str, dict[str, Any]]:
    """Accuracies by task of every method, with mean and range over seeds; the single-task runs are one row."""
    rows: dict[str, list[Scores]] = {}
    for column, runs in found.items():
        row = rows.setdefault(column.partition(":")[0], [{} for _ in runs])
        for merged, scores in zip(row, runs, strict=True):
            merged.update(scores)
    return {name: _row(runs) for name, runs in rows.items()}


def _row(runs: Sequence[Scores]) -> dict[str, Any]:
    row: dict[str, Any] = {
        "learned": all(
            math.isfinite(run[task]["loss"]) and run[task]["loss"] < FAILED for run in runs for task in TASKS
        )
    }
    by_task = {task: [run[task]["accuracy"] for run in runs] for task in TASKS}
    by_task["mean"] = [statistics.mean(pair) for pair in zip(*by_task.values(), strict=True)]
    for task, values in by_task.items():
        row[task] = {"seeds": values, "mean": statistics.mean(values), "range": max(values) - min(values)}
    if COSINES in runs[0]:
        row[COSINES] = {key: statistics.mean(run[COSINES][key] for run in runs) for key in runs[0][COSINES]}
    return row


def _beats(table: Mapping[str, Mapping[str, Any]], kind: str) -> bool:
    """Whether a method's means are above those of the single-task runs on both digits."""
    return all(table[kind][task]["mean"] > table[ALONE][task]["mean"] for task in TASKS)


def _show(table: Mapping[str, Mapping[str, Any]], split: str, seeds: int) -> None:
    print(f"accuracy on {split}, percent: mean over {seeds} seeds (largest less smallest)")
    print(f"{'method':12}" + "".join(f"{task:>16}" for task in (*TASKS, "mean")))
    for name, row in table.items():
        cells = (f"{row[task]['mean'] * 100:.2f} ({row[task]['range'] * 100:.2f})" for task in (*TASKS, "mean"))
        print(f"{name:12}" + "".join(f"{cell:>16}" for cell in cells))


if __name__ == "__main__":
    sys.exit(main())
