"""What all commands print alike: tables, numbers, ages and, last of all, JSON."""

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from distmtl.observe.console import duration
from distmtl.observe.metrics_log import finite_json

_WIDE = 400
"""Columns where the output is no terminal: a log or a pipe should not wrap tables."""


def output() -> Console:
    """Standard output, for people."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, highlight=False, markup=False, soft_wrap=True)


def print_json(values: Mapping[str, Any]) -> None:
    """One JSON object as one line; NaN becomes null."""
    click.echo(json.dumps(finite_json(values), allow_nan=False))


def table(*columns: str, right: Sequence[str] = ()) -> Table:
    """An empty table with these columns, those in ``right`` aligned to the right."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", no_wrap=True)
    return made


def row(made: Table, *cells: str) -> None:
    """Add a row of plain text: names of the user's are never read as markup."""
    made.add_row(*map(Text, cells))


def metrics_table(tasks: Mapping[str, Mapping[str, float | None]]) -> Table:
    """A row per task, a column per metric that any of them reports."""
    found = dict.fromkeys(metric for values in tasks.values() for metric in values)
    metrics = sorted(found, key=lambda metric: metric == "loss")  # stable: the loss goes last
    made = table("task", *metrics, right=metrics)
    for task, values in tasks.items():
        row(made, task, *(number(values[metric]) if metric in values else "" for metric in metrics))
    return made


def number(value: float | None) -> str:
    """Four digits; nothing for a value that was undefined."""
    return "-" if value is None or math.isnan(value) else f"{value:.4g}"


def percent(share: float) -> str:
    """A share as a percentage, with a digit where it matters."""
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return f"{share:.1%}" if 0.001 <= share <= 0.999 else f"{share:.2%}"


def size(size_bytes: float) -> str:
    """Bytes in binary units."""
    value = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"


def workers(count: int) -> str:
    """So many workers, in words."""
    return f"{count} worker{'' if count == 1 else 's'}"


def age(then: datetime | None) -> str:
    """How long ago that was."""
    if then is None:
        return "-"
    return duration(max(0.0, (datetime.now(UTC) - then).total_seconds()))


def near(uri: str) -> str:
    """A URI as a person in the working folder would write it."""
    path = uri.removeprefix("file://")
    if "://" in path or not Path(path).is_absolute():
        return uri
    relative = os.path.relpath(path)
    return path if relative.startswith(os.pardir) else relative
