"""The group of commands, and the one place where an error becomes a line and an exit code."""

import importlib
import sys
import traceback
from typing import Any, NoReturn

import click

from distmtl import __version__
from distmtl.config.problems import nearest
from distmtl.errors import ConfigError, DistmtlError, WorkerError

COMMANDS: dict[str, tuple[str, str]] = {
    "pack": ("distmtl.cli.pack", "Pack Parquet, Arrow, CSV or TSV files into a source."),
    "source": ("distmtl.cli.source", "Show what is in a source; check its checksums."),
    "check": ("distmtl.cli.check", "Say what can be known of a run before a worker starts."),
    "train": ("distmtl.cli.train", "Train the run that a run file describes."),
    "eval": ("distmtl.cli.evaluate", "Measure a trained run on a split."),
    "runs": ("distmtl.cli.runs", "List the runs of a store."),
    "show": ("distmtl.cli.show", "Show one run: its length, attempts and metrics."),
    "checkpoints": ("distmtl.cli.checkpoints", "List the checkpoints of a run; check every byte of them."),
}
"""Name, module and line of help of every command, in the order of their use. Each module has a ``command``."""

INTERRUPTED = 130
"""Exit code of a command that was interrupted where it had nothing to save: 128 + SIGINT, as shells have it."""


class LazyGroup(click.Group):
    """Imports a command when it is called, so that ``--help`` needs neither torch nor ray nor pyarrow."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """The names, in the order of their use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command; one that is not there is refused with the nearest name."""
        if cmd_name not in COMMANDS:
            near = nearest(cmd_name, COMMANDS)
            ctx.fail(f"there is no command '{cmd_name}'{f'; did you mean {near!r}?' if near else '.'}")
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """The list of commands in the help, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; errors end the process with their exit code."""
        try:
            return super().invoke(ctx)
        except DistmtlError as error:
            _fail(error)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("interrupted", err=True)
            sys.exit(INTERRUPTED)
        except Exception:  # the last resort: anything else is a bug
            traceback.print_exc()
            click.echo("This is a bug in distmtl; please report it with the lines above.", err=True)
            sys.exit(1)


def _fail(error: DistmtlError) -> NoReturn:
    """Say what is wrong, a line per problem, and exit."""
    if isinstance(error, WorkerError) or error.code == DistmtlError.code:
        traceback.print_exception(error)
    lines = str(error).splitlines() if isinstance(error, ConfigError) else [str(error)]
    for line in lines:
        click.echo(f"error {error.code}: {line}", err=True)
    sys.exit(error.exit_code)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="distmtl")
def main() -> None:
    """Train one model on many tasks, with a result that does not depend on the number of workers.

    A run is one YAML file. Pack the data once, check the file, train, and go on where a run stopped by
    running the same command again.

    \b
    Examples:
      distmtl pack data/*.parquet --out data/packed
      distmtl check configs/adult.yaml
      distmtl train configs/adult.yaml
      distmtl train configs/adult.yaml --workers 8 --set store=s3://bucket/runs
      distmtl eval runs/adult --split test

    \b
    Exit codes:
      0    done
      1    a bug
      2    the user's input is wrong
      3    interrupted or preempted, after a committed checkpoint
      4    stopped by the failure policy, or by a loss that is not a number
      130  interrupted where nothing could be saved
    """
