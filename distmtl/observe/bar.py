"""A progress bar for terminals."""

from typing import Any, TextIO

from rich.console import Console as RichConsole
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn
from rich.progress import Progress as RichProgress

from distmtl.observe.console import duration, event_lines
from distmtl.observe.events import AnyEvent


class Bar:
    """Steps done, rate, time left and the loss of every task, redrawn in place; other events scroll above it.

    Args:
        stream: A terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._console = RichConsole(file=stream)
        self._progress: RichProgress | None = None

    def show(self, event: AnyEvent) -> None:
        """Redraw the bar, or print the event above it."""
        try:
            if event["kind"] == "progress":
                self._redraw(event)
            else:
                for line in event_lines(event):
                    self._console.print(escape(line), highlight=False)
        except (OSError, ValueError):  # a terminal that went away must not end a run
            return

    def close(self) -> None:
        """Leave the bar as it stands and give the cursor back."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None

    def _redraw(self, event: AnyEvent) -> None:
        losses = "  ".join(f"{task} {value:.4g}" for task, value in event["losses"].items())
        fields: dict[str, Any] = {
            "rate": f"{event['rows_per_s']:,.0f} rows/s",
            "left": f"{duration(event['eta_s'])} left" if event["eta_s"] is not None else "",
            "losses": escape(losses),
        }
        if self._progress is None:
            self._progress = _new_bar(self._console)
            self._progress.add_task("", **fields)
            self._progress.start()
        task = self._progress.task_ids[0]
        self._progress.update(task, total=event["steps"], completed=event["step"], **fields)


def _new_bar(console: RichConsole) -> RichProgress:
    return RichProgress(
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TextColumn("{task.fields[left]}"),
        TextColumn("{task.fields[losses]}"),
        console=console,
        refresh_per_second=4,
    )
