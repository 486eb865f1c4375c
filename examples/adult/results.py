"""Adult over three seeds: test scores of the four tasks, with their mean and spread ('make results').

python examples/adult/results.py [RUN.yaml] [--seeds N] [--set KEY=VALUE]...
"""

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

import distmtl

HERE = Path(__file__).parent
SHOWN = {"income": "auroc", "never_married": "auroc", "occupation": "accuracy", "hours": "rmse"}
BOOSTING = {"income": 0.8852, "never_married": 0.8837, "occupation": 0.327, "hours": 10.88}
"""Single-task gradient boosting (scikit-learn's HistGradientBoosting at its defaults), on the same splits."""


def main() -> int:
    """Train, measure on the test split, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_file", nargs="?", default=str(HERE.parent.parent / "configs" / "adult.yaml"))
    parser.add_argument("--seeds", type=int, default=3, metavar="N")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="KEY=VALUE")
    options = parser.parse_args()
    scores: dict[str, list[float]] = {task: [] for task in SHOWN}
    with tempfile.TemporaryDirectory() as folder:
        splits = {split: [str(HERE / f"{split}.parquet")] for split in ("train", "valid", "test")}
        distmtl.pack(splits, f"{folder}/adult")
        for seed in range(options.seeds):
            fixed = [f"seed={seed}", f"name=seed-{seed}", f"store={folder}", f"sources.adult.uri={folder}/adult"]
            run = distmtl.train(distmtl.load_config(options.run_file, [*options.overrides, *fixed]))
            measured = distmtl.evaluate(run.run, split="test").tasks
            for task, metric in SHOWN.items():
                scores[task].append(measured[task][metric])
    table = Table(
        "task", "metric", *(f"seed {seed}" for seed in range(options.seeds)), "mean", "spread", "boosting", box=None
    )
    for task, values in scores.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        row = [*values, statistics.mean(values), spread, BOOSTING[task]]
        table.add_row(task, SHOWN[task], *(f"{value:.4f}" for value in row))
    Console().print(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
