"""What the commands ``pack`` and ``source`` show of a source."""

import json
import re
import sys
from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from rich.console import Console
from rich.table import Table

from distmtl.data.manifest import TRAIN, CategoricalStatistics, Column, LengthStatistics, Manifest, NumericStatistics
from distmtl.data.summary import balance, histogram, kind_text

_PLAIN = re.compile(r"^[A-Za-z_][\w./-]*$")
_RESERVED = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_MANY_COLUMNS = 60
_WIDE = 400
_BLOCKS = " ▁▂▃▄▅▆▇█"


def output() -> Console:
    """Standard output; where it is no terminal, tables are not wrapped."""
    return Console(width=None if sys.stdout.isatty() else _WIDE)


def split_table(manifest: Manifest) -> Table:
    """Rows and blocks of each split."""
    table = Table("split", box=None, pad_edge=False)
    table.add_column("rows", justify="right")
    table.add_column("blocks", justify="right")
    for name, info in manifest.splits.items():
        table.add_row(name, f"{info.rows:,}", f"{info.blocks:,}")
    return table


def schema_table(manifest: Manifest) -> Table:
    """Each column: its kind, its type in the files, and in the train split its missing share and its values."""
    table = Table("column", "kind", "from", box=None, pad_edge=False)
    table.add_column("null", justify="right")
    table.add_column("", no_wrap=True)
    table.add_column("values in train")
    info = manifest.splits[TRAIN]
    for column in manifest.columns:
        statistics = info.statistics.get(column.name)
        nulls = "" if statistics is None else _percent(statistics.nulls, info.rows)
        bars = sparkline(histogram(statistics))
        table.add_row(
            _safe(column.name), _safe(kind_text(column)), _safe(column.origin), nulls, bars, _values(column, statistics)
        )
    return table


def sparkline(shares: Sequence[float]) -> str:
    """A histogram in one line: one block per bar, the tallest one full."""
    highest = max(shares, default=0.0)
    if not highest:
        return ""
    # Only an empty bar has no block: a rare value is still there.
    heights = [min(len(_BLOCKS) - 1, ceil(share / highest * (len(_BLOCKS) - 1))) for share in shares]
    return "".join(_BLOCKS[height] for height in heights)


def balance_table(manifest: Manifest) -> Table | None:
    """Shares of the values of the columns that have few, in every split; None where no column has."""
    table = Table("column", "value", box=None, pad_edge=False)
    for name in manifest.splits:
        table.add_column(name, justify="right")
    for column in manifest.columns:
        counts = {name: balance(column, info) for name, info in manifest.splits.items()}
        if counts[TRAIN] is None:
            continue
        values = dict.fromkeys(value for split in counts.values() for value in split or {})
        for i, value in enumerate(values):
            shares = [_share(counts[name], value) for name in manifest.splits]
            table.add_row(_safe(column.name) if i == 0 else "", _safe(value), *shares)
    return table if table.row_count else None


def rows_table(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Sample rows, one column of the table per row: a source often has more columns than a line holds."""
    table = Table("column", *[f"row {i}" for i in range(len(rows))], box=None, pad_edge=False)
    for name in rows[0] if rows else ():
        table.add_row(_safe(name), *[_safe("null" if row[name] is None else _short(row[name])) for row in rows])
    return table


def run_file_lines(uri: str, manifest: Manifest) -> str:
    """The lines of a run file that name this source and its columns."""
    if len(manifest.columns) > _MANY_COLUMNS:
        return f"sources:\n  data:\n    uri: {_word(uri)}\n    inputs: {{...}}"
    lines = ["sources:", "  data:", f"    uri: {_word(uri)}", "    inputs:"]
    for kind in ("numeric", "categorical"):
        names = [_word(column.name) for column in manifest.columns if column.kind == kind]
        if names:
            lines.append(f"      {kind}: [{', '.join(names)}]")
    tensors = [column.name for column in manifest.columns if column.kind == "tensor"]
    lines += [f"      {_word(name)}: {_word(name)}" for name in tensors]
    return "\n".join(lines)


def _values(column: Column, statistics: object) -> str:
    if isinstance(statistics, CategoricalStatistics):
        words = len(column.vocabulary)
        shown = ", ".join(_short(word) for word in column.vocabulary[:3])
        return _safe(f"{words:,} values: {shown}{', ...' if words > 3 else ''}" if words else "no value")
    if isinstance(statistics, LengthStatistics):
        unit = "numbers" if column.kind == "ragged" else "bytes"
        return f"mean {statistics.mean_length:,.4g} {unit}, at most {statistics.max_length:,}"
    if not isinstance(statistics, NumericStatistics):
        return ""
    if statistics.mean is None or statistics.std is None:
        return "no value"
    infinite = f", {statistics.infinite:,} infinite" if statistics.infinite else ""
    extremes = f"{statistics.minimum:.4g} to {statistics.maximum:.4g}"
    return f"mean {statistics.mean:.4g}, std {statistics.std:.4g}, {extremes}{infinite}"


def _share(counts: Mapping[str, int] | None, value: str) -> str:
    if counts is None:
        return ""
    return _percent(counts.get(value, 0), sum(counts.values()))


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole and part else "0 %"


def _short(value: Any) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def _safe(text: str) -> str:
    """Text from a data set, which must not be read as markup."""
    return text.replace("[", "\\[")


def _word(text: str) -> str:
    """A YAML scalar."""
    return text if _PLAIN.match(text) and text.lower() not in _RESERVED else json.dumps(text, ensure_ascii=False)
