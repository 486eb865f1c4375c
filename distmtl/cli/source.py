"""``distmtl source``: what is in a source, and whether its bytes are intact."""

import json
from typing import Any

import click
from rich.console import Console

from distmtl.cli.source_tables import balance_table, output, rows_table, schema_table, split_table
from distmtl.cli.terminal import size
from distmtl.data.source import Source, open_source
from distmtl.data.summary import sample_rows, summarise
from distmtl.data.verify import VerifyReport, verify
from distmtl.errors import CorruptBlockError


@click.command(name="source")
@click.argument("uri")
@click.option("--digest", help="The version to show; by default the newest.")
@click.option("--verify", "verify_bytes", is_flag=True, help="Read every byte and compare every checksum.")
@click.option("--rows", type=click.IntRange(min=0), default=0, metavar="N", help="Show the first N rows of a split.")
@click.option("--split", default="train", show_default=True, help="The split whose rows are shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def command(uri: str, digest: str | None, verify_bytes: bool, rows: int, split: str, as_json: bool) -> None:
    """Show the columns, splits, label balance and rows of the source at URI."""
    source = open_source(uri, digest)
    found: dict[str, Any] = summarise(source.uri, source.manifest)
    found["sample"] = sample_rows(source, split, rows) if rows else []
    report = verify(source) if verify_bytes else None
    found["problems"] = list(report.problems) if report else None
    found["verified"] = _rate(report) if report else None
    _show(output(), source, found)
    if as_json:
        click.echo(json.dumps(found, default=str))
    if found["problems"]:
        raise CorruptBlockError(
            f"{len(found['problems'])} checksums do not match.", source.uri, "Pack the source again, or copy it again."
        )


def _rate(report: VerifyReport) -> dict[str, float]:
    return {"bytes": report.bytes, "seconds": report.seconds, "bytes_per_s": report.bytes_per_s}


def _show(console: Console, source: Source, found: dict[str, Any]) -> None:
    manifest = source.manifest
    console.print(f"{source.uri}\ndigest {manifest.digest}, {found['bytes']:,} bytes", markup=False, highlight=False)
    console.print()
    console.print(split_table(manifest))
    console.print()
    console.print(schema_table(manifest))
    shares = balance_table(manifest)
    if shares is not None:
        console.print("\nvalues of columns that have few:")
        console.print(shares)
    if found["sample"]:
        console.print()
        console.print(rows_table(found["sample"]))
    if found["problems"] is not None:
        for problem in found["problems"]:
            console.print(problem, markup=False)
        rate = found["verified"]
        console.print(f"\nread {size(rate['bytes'])} in {rate['seconds']:.1f} s: {size(rate['bytes_per_s'])}/s")
        if not found["problems"]:
            console.print(f"Every checksum matches: {len(manifest.shards)} shards, {source.blocks.num_rows} blocks.")
