"""``distmtl pack``: files to a source."""

import csv
import json
from collections.abc import Sequence

import click

from distmtl.cli.pack_progress import PackBar
from distmtl.cli.source_tables import output, run_file_lines, schema_table, split_table
from distmtl.data.importers import TextOptions
from distmtl.data.infer import NULL_TOKENS, TypingOptions
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.summary import summarise
from distmtl.data.tensors import parse_layout
from distmtl.errors import SourceError


@click.command(name="pack")
@click.argument("files", nargs=-1)
@click.option("--out", required=True, metavar="URI", help="Where the source is put: a folder, s3://bucket/prefix, ...")
@click.option("--split", multiple=True, metavar="NAME=FILES", help="Files of one split. Repeat for each split.")
@click.option("--split-column", metavar="COLUMN", help="A column that names each row's split.")
@click.option("--fractions", metavar="NAME=SHARE,...", help="Split at random, such as train=0.8,valid=0.1,test=0.1.")
@click.option("--group-by", metavar="COLUMN", help="Keep rows of one value of a column in one split.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the split and of the order.")
@click.option(
    "--order", type=click.Choice(["shuffle", "keep"]), default="shuffle", show_default=True, help="Of the rows."
)
@click.option("--categorical", multiple=True, metavar="A,B", help="Columns whose values are names, not numbers.")
@click.option("--text", multiple=True, metavar="A,B", help="Columns of text, kept as it is.")
@click.option("--numeric", multiple=True, metavar="A,B", help="Columns of strings that are numbers.")
@click.option("--drop", multiple=True, metavar="A,B", help="Columns to leave out.")
@click.option(
    "--tensor", multiple=True, metavar="NAME=DTYPE:AxB", help="What a binary column holds: image=uint8:36x36."
)
@click.option(
    "--files", "file_columns", multiple=True, metavar="COLUMN[=FOLDER]",
    help="A column of file names whose bytes are packed; they are relative to FOLDER, or to the file that names them.",
)  # fmt: skip
@click.option("--null", multiple=True, metavar="TEXT", help=f"What means null in text files, instead of {NULL_TOKENS}.")
@click.option("--header", metavar="A,B", help="Column names of text files without a header line.")
@click.option(
    "--delimiter", metavar="CHAR", help="What separates the cells of text files; found by itself if left out."
)
@click.option("--encoding", default="utf-8", show_default=True, help="Of text files.")
@click.option("--max-vocabulary", type=click.IntRange(min=1), default=1_000_000, show_default=True,
              help="Values kept of a categorical column, the most frequent first.")  # fmt: skip
@click.option(
    "--block-rows", type=click.IntRange(min=1), help="Rows of a block, a power of two; chosen by size if left out."
)
@click.option("--compression", type=click.Choice(["lz4", "zstd", "none"]), default="lz4", show_default=True)
@click.option("--append", is_flag=True, help="Add the rows to the source that is there already.")
@click.option("--work", metavar="FOLDER", help="Local folder for what does not fit into memory.")
@click.option("--threads", type=click.IntRange(min=1), help="Threads at work; by default one per core, up to 4.")
@click.option("--overwrite", is_flag=True, help="Replace a source that is there already.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object as the last line.")
def command(  # noqa: PLR0917
    files: tuple[str, ...],
    out: str,
    split: tuple[str, ...],
    split_column: str | None,
    fractions: str | None,
    group_by: str | None,
    seed: int,
    order: str,
    categorical: tuple[str, ...],
    text: tuple[str, ...],
    numeric: tuple[str, ...],
    drop: tuple[str, ...],
    tensor: tuple[str, ...],
    file_columns: tuple[str, ...],
    null: tuple[str, ...],
    header: str | None,
    delimiter: str | None,
    encoding: str,
    max_vocabulary: int,
    block_rows: int | None,
    compression: str,
    append: bool,
    work: str | None,
    threads: int | None,
    overwrite: bool,
    as_json: bool,
) -> None:
    """Pack data of many formats into a source: Parquet, Arrow, CSV, JSON Lines, WebDataset, MDS, images ...

    FILES are files, folders or globs. Files named train, valid and test are these splits; other rows are split at
    random unless --split, --split-column, --fractions or --group-by says otherwise. A pack that was killed goes on
    where it was when the same command is given again.
    """
    if split and files:
        raise SourceError(
            "files are given both with and without --split.", remedy="Give each one with --split NAME=FILES."
        )
    console = output()
    options = PackOptions(
        seed=seed,
        order="keep" if order == "keep" else "shuffle",
        fractions=None if fractions is None else _fractions(fractions),
        split_column=split_column,
        group_by=group_by,
        typing=TypingOptions(
            categorical=_names(categorical),
            text=_names(text),
            numeric=_names(numeric),
            drop=_names(drop),
            tensors={name: parse_layout(layout) for name, layout in (_pair(item, "--tensor") for item in tensor)},
            nulls=null or NULL_TOKENS,
        ),
        text=TextOptions(
            header=None if header is None else _names([header]),
            delimiter="\t" if delimiter in {"tab", "\\t"} else delimiter,
            encoding=encoding,
        ),
        files={name.strip(): folder or None for name, _, folder in (item.partition("=") for item in file_columns)},
        max_vocabulary=max_vocabulary,
        block_rows=block_rows,
        compression=compression,  # type: ignore[arg-type]  # click has checked it
        append=append,
        work=work,
        threads=threads,
        overwrite=overwrite,
    )
    with PackBar() as bar:
        manifest = pack(_splits(split) if split else files, out, options, bar.note, bar.show)
    console.print(schema_table(manifest))
    console.print()
    console.print(split_table(manifest))
    console.print(f"\nPacked into {out} (digest {manifest.digest}).", markup=False, highlight=False)
    console.print("Next: put these lines into a run file, and move the columns to predict from inputs to tasks:\n")
    console.print(run_file_lines(out, manifest), markup=False, highlight=False, soft_wrap=True)
    if as_json:
        click.echo(json.dumps(summarise(out, manifest)))


def _names(values: Sequence[str]) -> tuple[str, ...]:
    """Comma-separated names; one that holds a comma stands in double quotes."""
    return tuple(name.strip() for row in csv.reader(values, skipinitialspace=True) for name in row if name.strip())


def _pair(text: str, option: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name.strip() and equals and value.strip()):
        raise SourceError(f"{option} '{text}' is not NAME=VALUE.", remedy=f"Write {option} name=value.")
    return name.strip(), value.strip()


def _splits(values: Sequence[str]) -> dict[str, list[str]]:
    splits: dict[str, list[str]] = {}
    for name, files in (_pair(value, "--split") for value in values):
        splits.setdefault(name, []).append(files)
    return splits


def _fractions(text: str) -> dict[str, float]:
    shares: dict[str, float] = {}
    for name, share in (_pair(item, "--fractions") for item in text.split(",")):
        try:
            shares[name] = float(share)
        except ValueError as error:
            raise SourceError(
                f"--fractions gives '{share}' for '{name}'.", remedy="Give a number, such as 0.1."
            ) from error
    return shares
