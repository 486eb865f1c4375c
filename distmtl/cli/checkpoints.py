"""``distmtl checkpoints``: the checkpoints of a run."""

from collections.abc import Mapping

import click

from distmtl.checkpoint.run import RunStore, open_run_uri, read_record
from distmtl.cli.terminal import age, near, number, output, print_json, row, size, table
from distmtl.errors import CheckpointError
from distmtl.orchestrate.history import CheckpointFacts, checkpoint_facts

_MOST_METRICS = 6


@click.command(name="checkpoints")
@click.argument("run_uri")
@click.option("--verify", "verify_bytes", is_flag=True, help="Read every byte and compare every checksum.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(run_uri: str, verify_bytes: bool, as_json: bool) -> None:
    """List the checkpoints of the run at RUN_URI, newest first.

    Only whole checkpoints are there: one that was being written when its writer died is never listed. --verify
    reads each byte by byte, and says which are damaged since.

    \b
    Examples:
      distmtl checkpoints runs/adult
      distmtl checkpoints s3://bucket/runs/adult --verify

    \b
    Exit codes:
      0    done, and nothing is damaged
      2    there is no run at RUN_URI, or --verify found damage
    """
    run = open_run_uri(run_uri)
    read_record(run)
    found = checkpoint_facts(run)
    damage = {facts.ref.uri: _damage(run, facts) for facts in found} if verify_bytes else {}
    terminal = output()
    columns = ["step", "attempt", "age", "workers", "size", *(["bytes are"] if verify_bytes else []), "metrics"]
    made = table(*columns, right=["step", "attempt", "age", "workers", "size"])
    for facts in found:
        commit = facts.commit
        state = [("damaged" if damage[facts.ref.uri] else "good")] if verify_bytes else []
        numbers = [f"{commit.step:,}", str(commit.attempt), age(facts.committed), str(commit.world_size)]
        row(made, *numbers, size(commit.total_bytes), *state, _metrics(commit.metrics))
    terminal.print(made if found else f"There are no checkpoints in {near(run.uri)}.")
    if as_json:
        print_json({"run": run.uri, "checkpoints": [_json(facts, damage) for facts in found]})
    bad = [problem for problem in damage.values() if problem]
    if bad:
        raise CheckpointError(
            f"{len(bad)} of {len(found)} checkpoints are damaged; the first: {bad[0]}",
            run.uri,
            "'train' goes on from the newest good one.",
        )


def _metrics(metrics: Mapping[str, float]) -> str:
    """The means over tasks, or where there are none, the first few metrics."""
    means = [name for name in metrics if name.startswith("mean/")]
    return "  ".join(f"{name} {number(metrics[name])}" for name in (means or list(metrics))[:_MOST_METRICS])


def _damage(run: RunStore, facts: CheckpointFacts) -> str:
    """What is wrong with a checkpoint; empty if nothing is."""
    from distmtl.checkpoint.reader import verify  # loads torch

    try:
        verify(run, facts.ref)
    except CheckpointError as error:
        return str(error)
    return ""


def _json(facts: CheckpointFacts, damage: dict[str, str]) -> dict[str, object]:
    return facts.to_json() | ({"damage": damage[facts.ref.uri]} if damage else {})
