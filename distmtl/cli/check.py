"""``distmtl check``: what can be known of a run before a worker starts."""

from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table

from distmtl.cli.terminal import near, number, output, percent, print_json, row, size, table, workers
from distmtl.config import load_config
from distmtl.observe.console import duration
from distmtl.orchestrate.report import Report, TaskFacts
from distmtl.orchestrate.user_code import make_importable

_MOST_CLASSES = 2


@click.command(name="check")
@click.argument("run_file", metavar="RUN.yaml")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the run file, such as optim.lr=3e-4. Repeat for several.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(run_file: str, overrides: tuple[str, ...], as_json: bool) -> None:
    """Say what can be known of the run in RUN.yaml before a worker starts.

    Reads the run file and the manifests of its sources, builds the model, tries a few steps on this machine, and
    puts and deletes one object in the store. Shows the rows and labels of every source and task, how often the
    run goes over each source, what a worker holds in memory, the size of a checkpoint, an estimate of the time,
    and what is probably not meant.

    \b
    Examples:
      distmtl check configs/adult.yaml
      distmtl check configs/adult.yaml --set launch.workers=8 --set store=s3://bucket/runs

    \b
    Exit codes:
      0    the run can start; there may be warnings
      2    it cannot: one line per problem
    """
    config = load_config(run_file, overrides)
    from distmtl.orchestrate.check import check  # loads pyarrow: a wrong run file is refused without that wait

    make_importable(str(Path(run_file).resolve().parent))
    report = check(config)
    terminal = output()
    terminal.print(
        f"{report.name}: {report.steps:,} steps of {report.batch_rows:,} rows on {workers(report.workers)}\n"
    )
    terminal.print(sources_table(report))
    terminal.print()
    terminal.print(tasks_table(report))
    terminal.print()
    for line in facts(report):
        terminal.print(line)
    for warning in report.warnings:
        terminal.print(f"warning: {warning}")
    terminal.print(f"\nnext: distmtl train {run_file}{''.join(f' --set {override}' for override in overrides)}")
    if as_json:
        print_json(report.to_json())


def sources_table(report: Report) -> Table:
    """Rows by split, share of the mixture, passes and version of each source."""
    splits = list(dict.fromkeys(split for source in report.sources for split in source.rows))
    made = table("source", *splits, "share", "passes", "size", "digest", right=[*splits, "share", "passes", "size"])
    for source in report.sources:
        rows = [f"{source.rows[split]:,}" if split in source.rows else "-" for split in splits]
        numbers = [percent(source.share), f"{source.passes:.2f}", size(source.size_bytes)]
        row(made, source.name, *rows, *numbers, source.digest[:12])
    return made


def tasks_table(report: Report) -> Table:
    """Labels and weight of each task."""
    splits = list(dict.fromkeys(split for task in report.tasks for split in task.missing))
    missing = f"missing in {'/'.join(splits)}"
    made = table("task", "labels", "kind", missing, "in train", "weight", "effective", right=["weight", "effective"])
    for task in report.tasks:
        shares = " ".join(percent(task.missing[split]) if split in task.missing else "-" for split in splits)
        weights = [number(task.weight), number(task.effective_weight)]
        row(made, task.name, f"{task.source}.{task.target}", task.kind, shares, _labels(task), *weights)
    return made


def facts(report: Report) -> Iterator[str]:
    """Memory, checkpoint, store and time, a line each."""
    memory, store = report.memory, report.store
    yield f"model       {memory.trunk_parameters:,} parameters in the trunk, {memory.private_parameters:,} private"
    yield (
        f"memory      {size(memory.total_bytes)} per worker, activations not counted: "
        f"weights {size(memory.weights_bytes)}, gradients {size(memory.gradients_bytes)}, "
        f"optimizer {size(memory.optimizer_bytes)}, balancing {size(memory.balancing_bytes)}, "
        f"batch {size(memory.batch_bytes)}, "
        f"prefetched {size(memory.prefetch_bytes)} at most"
    )
    route = report.route
    every = f", every {route.update_every} steps" if route.update_every > 1 else ""
    yield (
        f"balancing   route {route.route}{every}: {route.reason}; "
        f"a worker sends {size(route.sent_bytes)} per step for the trunk"
    )
    yield f"checkpoint  {size(memory.checkpoint_bytes)}"
    yield f"store       {near(store.uri)}: {'can be written' if store.writable else 'cannot be written'}"
    if store.found:
        yield f"            has {store.found}"
    if report.pace is not None:
        pace = report.pace
        yield (
            f"time        about {duration(pace.train_s)} for all steps: an estimate from {pace.measured_steps} steps "
            f"of {pace.rows:,} rows on this machine's {pace.device} ({1000 * pace.step_s:.1f} ms each), "
            "without reading, evaluation, communication and task gradients"
        )
    yield f"config      {report.config_hash}"


def _labels(task: TaskFacts) -> str:
    """The largest classes, or mean and deviation."""
    if not task.classes:
        return f"{number(task.mean)} ± {number(task.std)}"
    largest = sorted(task.classes.items(), key=lambda item: -item[1])
    shown = ", ".join(f"{name} {percent(share)}" for name, share in largest[:_MOST_CLASSES])
    return f"{shown}, {len(largest) - _MOST_CLASSES} more" if len(largest) > _MOST_CLASSES else shown
