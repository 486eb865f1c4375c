"""The progress of packing on standard error; nothing where that is no terminal."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.text import Text

from distmtl.cli.source_tables import output
from distmtl.data.ingest.progress import Progress as PackProgress
from distmtl.observe.console import duration

_WORDS = {"scan": "finding types", "convert": "sorting rows", "write": "writing shards"}


class PackBar:
    """A line per stage of packing."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(stderr=True),
            disable=not sys.stderr.isatty(),
        )

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, progress: PackProgress) -> None:
        """Show how far a stage is."""
        task = self._tasks.get(progress.stage)
        if task is None:
            task = self._tasks[progress.stage] = self._bars.add_task(_WORDS[progress.stage], said="")
        said = progress_text(progress)
        self._bars.update(task, completed=progress.rows, total=progress.total, said=said)

    def note(self, text: str) -> None:
        """Print a note above the bars, on standard output."""
        output().print(Text(f"note: {text}"))


def progress_text(progress: PackProgress) -> str:
    """``1,200 of 5,000 rows, 600/s, 6s left``."""
    whole = "" if progress.total is None else f" of {progress.total:,}"
    left = progress.remaining
    rest = "" if not left else f", {duration(left)} left"
    return f"{progress.rows:,}{whole} rows, {progress.rate:,.0f}/s{rest}"
