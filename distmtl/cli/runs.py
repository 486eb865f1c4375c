"""``distmtl runs``: what a store holds."""

import click

from distmtl.checkpoint.run import list_runs
from distmtl.cli.terminal import age, near, number, output, print_json, row, size, table
from distmtl.orchestrate.history import RunFacts, run_facts
from distmtl.store import open_store

_MOST_METRICS = 4


@click.command(name="runs")
@click.argument("store_uri")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(store_uri: str, as_json: bool) -> None:
    """List the runs of the store at STORE_URI.

    Shows of each the step of its last checkpoint and how long ago that was, its attempts, the size of its
    checkpoints and its last metrics on the valid split.

    \b
    Examples:
      distmtl runs runs
      distmtl runs s3://bucket/runs --json

    \b
    Exit codes:
      0    done, whether there are runs or not
      2    the store cannot be read
    """
    store = open_store(store_uri)
    found = [run_facts(run) for run in list_runs(store)]
    terminal = output()
    made = table("run", "step", "checkpoint", "attempts", "size", "valid", right=["step", "attempts", "size"])
    for facts in found:
        total = sum(checkpoint.commit.total_bytes for checkpoint in facts.checkpoints)
        last = f"{age(facts.checkpoints[0].committed)} ago" if facts.checkpoints else "none"
        row(made, facts.run.name, f"{facts.step:,}", last, str(len(facts.attempts)), size(total), _metrics(facts))
    terminal.print(made if found else f"There are no runs in {near(store.uri)}.")
    if as_json:
        print_json({"store": store.uri, "runs": [facts.to_json() for facts in found]})


def _metrics(facts: RunFacts) -> str:
    """The first metric of each of the first tasks."""
    line = facts.last("valid")
    tasks = list(line["tasks"].items())[:_MOST_METRICS] if line else []
    firsts = [(task, next(iter(values.items()))) for task, values in tasks if values]
    return "  ".join(f"{task}/{metric} {number(value)}" for task, (metric, value) in firsts)
