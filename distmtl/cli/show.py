"""``distmtl show``: one run."""

import click
from rich.table import Table

from distmtl.checkpoint.run import open_run_uri
from distmtl.cli.terminal import (
    age,
    metrics_table,
    near,
    number,
    output,
    percent,
    print_json,
    row,
    size,
    table,
    workers,
)
from distmtl.orchestrate.history import RunFacts, run_facts


@click.command(name="show")
@click.argument("run_uri")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(run_uri: str, as_json: bool) -> None:
    """Show the run at RUN_URI.

    Its length and last checkpoint, every attempt and what it went on from, the last losses and weights of
    training, and the last metrics of every split. With --json the run file is there, too.

    \b
    Examples:
      distmtl show runs/adult
      distmtl show s3://bucket/runs/adult --json

    \b
    Exit codes:
      0    done
      2    there is no run at RUN_URI, or it cannot be read
    """
    facts = run_facts(open_run_uri(run_uri))
    terminal = output()
    terminal.print(_head(facts))
    terminal.print()
    terminal.print(attempts_table(facts))
    train = facts.last("train")
    if train is not None:
        terminal.print(f"\ntraining at step {train['step']:,}: loss {number(train.get('loss'))}")
        terminal.print(training_table(train["tasks"]))
    for split in dict.fromkeys(line["split"] for line in facts.metrics if line["split"] != "train"):
        line = facts.last(split)
        if line is not None:
            terminal.print(f"\nmetrics of split '{split}' at step {line['step']:,}")
            terminal.print(metrics_table(line["tasks"]))
    if as_json:
        print_json(facts.to_json())


def attempts_table(facts: RunFacts) -> Table:
    """Every start of the run."""
    made = table("attempt", "went on from", "owner", right=["attempt"])
    for attempt in facts.attempts:
        origin = "the beginning" if attempt.source is None else near(attempt.source)
        if attempt.resumed_from is not None:
            origin = f"step {attempt.resumed_from:,}"
        row(made, str(attempt.number), origin, attempt.owner)
    return made


def training_table(tasks: dict[str, dict[str, float]]) -> Table:
    """Loss, weight and rows of each task in the last lines of training."""
    made = table("task", "loss", "weight", "rows", right=["loss", "weight", "rows"])
    for task, values in tasks.items():
        row(made, task, number(values.get("loss")), number(values.get("weight")), f"{values.get('rows', 0):,}")
    return made


def _head(facts: RunFacts) -> str:
    config = facts.record.config
    steps = config["train"].get("steps")
    done = f" of {steps:,} ({percent(facts.step / steps)})" if steps else ""
    versions = ", ".join(f"{name} {version}" for name, version in facts.record.versions.items())
    lines = [
        f"{facts.run.name} at {near(facts.run.uri)}",
        f"step        {facts.step:,}{done}",
        f"tasks       {', '.join(config['tasks'])}",
        f"sources     {', '.join(config['sources'])}",
        f"config      {facts.record.config_hash}",
        f"versions    {versions}",
    ]
    if facts.checkpoints:
        newest = facts.checkpoints[0]
        total = sum(checkpoint.commit.total_bytes for checkpoint in facts.checkpoints)
        count = f"{len(facts.checkpoints)}, {size(total)}; the last one {age(newest.committed)} ago"
        lines.insert(2, f"checkpoints {count}, by {workers(newest.commit.world_size)}")
    return "\n".join(lines)
