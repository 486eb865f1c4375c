"""``distmtl train``: from a run file to a trained run."""

import os
from pathlib import Path
from typing import Literal

import click

from distmtl.cli.terminal import metrics_table, near, output, print_json
from distmtl.config import load_config
from distmtl.observe.console import open_console
from distmtl.training.result import RunResult


@click.command(name="train")
@click.argument("run_file", metavar="RUN.yaml")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE",
              help="Change a key of the run file, such as optim.lr=3e-4. Repeat for several.")  # fmt: skip
@click.option("--workers", type=click.IntRange(min=1), metavar="N", help="Instead of launch.workers.")
@click.option("--runtime", type=click.Choice(["ray", "torchrun", "inline"]), help="Instead of launch.runtime.")
@click.option("--resume", default="auto", show_default=True, metavar="auto|never|URI",
              help="Go on from the last checkpoint if there is one, begin anew, or go on from this checkpoint or run.",
              )  # fmt: skip
@click.option("--allow-change", multiple=True, metavar="KEY",
              help="Go on although this key, or one beneath it, has changed. Repeat for several.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line of standard output.")
def command(
    run_file: str,
    overrides: tuple[str, ...],
    workers: int | None,
    runtime: Literal["ray", "torchrun", "inline"] | None,
    resume: str,
    allow_change: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train the run that RUN.yaml describes.

    Run the same command again and the run goes on from its last checkpoint, with any number of workers: the
    rows and the update of every step do not depend on it. Keys of the run file that decide the result may not
    change in between, but for train.steps and train.passes, which may be raised (a schedule that ends is then
    the one of the new length), and what --allow-change names.

    Ctrl-C and SIGTERM end the run after a checkpoint of its current step. Progress goes to standard error.

    \b
    Examples:
      distmtl train configs/adult.yaml
      distmtl train configs/adult.yaml --workers 4 --runtime torchrun
      distmtl train configs/adult.yaml --set name=adult-lr3 --set optim.lr=3e-4
      distmtl train configs/adult.yaml --set train.steps=4000          # make a run longer
      distmtl train configs/adult.yaml --resume never --json | tail -n 1
      torchrun --nproc-per-node 2 -m distmtl train configs/adult.yaml

    \b
    Exit codes:
      0    done, or stopped early because train.early_stop said so
      2    the run file, a source or the store is wrong: one line per problem, nothing was started
      3    interrupted or preempted, after a committed checkpoint; run the command again to go on
      4    stopped by the failure policy, or by a loss that is not a number
    """
    config = load_config(run_file, overrides)
    from distmtl.orchestrate import train  # loads torch: a wrong run file is refused without that wait

    first = os.environ.get("RANK", "0") == "0"
    result = train(
        config,
        resume=resume,
        allow_change=allow_change,
        runtime=runtime,
        workers=workers,
        base=str(Path(run_file).resolve().parent),
        console=open_console(quiet=not first),
    )
    if first:
        show_result(result)
        if as_json:
            print_json(result.to_json())


def show_result(result: RunResult) -> None:
    """The metrics of a run, where it is, and what to do next."""
    terminal, run = output(), near(result.run)
    if result.tasks:
        terminal.print(metrics_table(result.tasks))
    ended = "stopped early" if result.stopped == "early_stop" else "done"
    terminal.print(f"\n{run}: {ended} after step {result.step:,}, metrics of split '{result.split}'.")
    if result.checkpoint:
        terminal.print(f"checkpoint: {near(result.checkpoint)}")
    terminal.print(f"next: distmtl eval {run} --split test")
