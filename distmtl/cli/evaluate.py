"""``distmtl eval``: measure a trained run."""

import click

from distmtl.cli.terminal import metrics_table, near, output, print_json


def _step(_: click.Context, __: click.Parameter, value: str) -> int | str:
    """A number of a step, or the word."""
    if value in {"best", "last"}:
        return value
    if value.isdecimal():
        return int(value)
    raise click.BadParameter(f"'{value}' is not a step, 'best' or 'last'.")


@click.command(name="eval")
@click.argument("run_uri")
@click.option("--split", default="test", show_default=True, help="The split to measure on.")
@click.option("--step", callback=_step, default="last", show_default=True, metavar="N|best|last",
              help="The checkpoint: of this step, the best by checkpoint.keep_best, or the last.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(run_uri: str, split: str, step: int | str, as_json: bool) -> None:
    """Measure a trained run at RUN_URI on a split of its sources.

    The run file and the versions of the sources are those that the run was trained with; each row of the split
    counts once.

    \b
    Examples:
      distmtl eval runs/adult
      distmtl eval s3://bucket/runs/adult --split valid --step best --json

    \b
    Exit codes:
      0    done
      2    there is no such run, checkpoint, split or source
    """
    from distmtl.orchestrate import evaluate  # loads torch: the help needs none

    result = evaluate(run_uri, split=split, step=step)
    terminal = output()
    terminal.print(metrics_table(result.tasks))
    terminal.print(f"\n{near(result.run)}: metrics of split '{result.split}' at step {result.step:,}.")
    if as_json:
        print_json(result.to_json())
