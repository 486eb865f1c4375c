"""Files to Arrow tables: find them, read them, and name the file in every complaint.

Parquet and Arrow files bring types; a text file brings strings, in which :mod:`distmtl.data.infer` finds the types
over all files at once.
"""

import csv
import glob
import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from distmtl.errors import SourceError

_COMPRESSION = (".gz", ".bz2", ".zst")
_DELIMITERS = ",;\t|"
_PANDAS_INDEX = "__index_level_"
_NUMBER = re.compile(r"^[+-]?\d+(\.\d*)?$")


@dataclass(frozen=True)
class TextOptions:
    """How CSV and TSV files are read.

    Attributes:
        header: Column names of files without a header line, or None.
        delimiter: What separates cells; by default a tab in .tsv, else the one of ``, ; tab |`` that cuts the first
            line into most cells.
        encoding: Character encoding.
    """

    header: tuple[str, ...] | None = None
    delimiter: str | None = None
    encoding: str = "utf-8"


@dataclass(frozen=True)
class RawFile:
    """The rows of one file.

    Attributes:
        path: The file.
        table: Its columns; their names are distinct and not empty.
        text: Whether all columns are strings whose types are still to be found.
        notes: What a person should know about how it was read.
    """

    path: str
    table: pa.Table
    text: bool
    notes: tuple[str, ...] = ()


def expand_files(patterns: Sequence[str]) -> list[str]:
    """The files that paths, globs and folders name, in order and without repeats; a folder gives its own files.

    Raises:
        SourceError: A pattern names nothing, or nothing of a supported format.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        path = Path(pattern).expanduser()
        if path.is_dir():
            files = sorted(str(item) for item in path.iterdir() if item.is_file() and _format(item))
        else:
            # Path.glob takes no absolute pattern.
            matches = [str(path)] if path.is_file() else sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207
            files = [match for match in matches if Path(match).is_file()]
        if not files:
            raise SourceError(
                _nothing_found(pattern, folder=path.is_dir()), remedy="Give local files, folders or globs."
            )
        found.update(dict.fromkeys(files))
    return list(found)


def read_file(path: str, options: TextOptions) -> RawFile:
    """Read a Parquet, Arrow, CSV or TSV file.

    Raises:
        SourceError: The file cannot be read, has no rows, or its column names are empty or repeated.
    """
    reader = _READERS.get(_format(Path(path)))
    if reader is None:
        raise SourceError(
            f"files of type '{Path(path).suffix}' cannot be packed.",
            path,
            f"Give one of {', '.join(sorted(_READERS))}.",
        )
    try:
        raw = reader(path, options)
    except (pa.ArrowException, OSError, UnicodeError, csv.Error, LookupError) as error:
        raise SourceError(f"cannot be read: {_first_line(error)}.", path, _reading_remedy(error)) from error
    _check_names(raw)
    if raw.table.num_rows == 0:
        raise SourceError("the file has no rows.", path, "Leave it out.")
    return raw


def stem(path: str) -> str:
    """A file's name without its folder and endings: ``a/train.csv.gz`` gives ``train``."""
    name = Path(path)
    while name.suffix in _COMPRESSION:
        name = name.with_suffix("")
    return name.stem


def _format(path: Path) -> str:
    """The ending that says a file's format, or "" for one that is not supported."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] in _COMPRESSION:
        suffixes.pop()
        return suffixes[-1] if suffixes and suffixes[-1] in _TEXT else ""
    return suffixes[-1] if suffixes and suffixes[-1] in _READERS else ""


def _nothing_found(pattern: str, *, folder: bool) -> str:
    if folder:
        return f"folder '{pattern}' has no file of a type that can be packed ({', '.join(sorted(_READERS))})."
    if "://" in pattern:
        return f"'{pattern}' is not a local file; only the packed source may be remote."
    return f"there is no file '{pattern}'."


def _read_parquet(path: str, _: TextOptions) -> RawFile:
    with pq.ParquetFile(path) as file:
        return _without_index(path, file.read())


def _read_arrow(path: str, _: TextOptions) -> RawFile:
    with pa.memory_map(path) as file:
        try:
            return _without_index(path, pa.ipc.open_file(file).read_all())
        except pa.ArrowInvalid:
            file.seek(0)
            return _without_index(path, pa.ipc.open_stream(file).read_all())


def _without_index(path: str, table: pa.Table) -> RawFile:
    """Leave out the row index that pandas saves as a column of its own."""
    index = [name for name in table.column_names if name.startswith(_PANDAS_INDEX)]
    if not index:
        return RawFile(path, table, text=False)
    return RawFile(path, table.drop_columns(index), text=False, notes=("the saved pandas index was left out",))


def _read_text(path: str, options: TextOptions) -> RawFile:
    delimiter, first = _first_row(path, options)
    table = pacsv.read_csv(
        pa.input_stream(path, compression="detect"),
        read_options=pacsv.ReadOptions(column_names=options.header, encoding=options.encoding),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in options.header or first}, strings_can_be_null=False
        ),
    )
    names = [name.strip() for name in table.column_names]
    table = table.rename_columns(names)
    notes = []
    number = next((name for name in names if _NUMBER.match(name)), None)
    if number is not None and options.header is None:
        notes.append(f"a column is named '{number}'; if the first line is a row, give the names with --header")
    if len(names) > 1 and not names[0]:
        # DataFrame.to_csv writes its index as a first column without a name.
        table = table.remove_column(0)
        notes.append("the first column has no name and was left out")
    return RawFile(path, table, text=True, notes=tuple(notes))


def _first_row(path: str, options: TextOptions) -> tuple[str, list[str]]:
    """The delimiter, and the cells of the first line."""
    encoding = "utf-8-sig" if options.encoding.lower().replace("_", "-") in {"utf-8", "utf8"} else options.encoding
    with pa.input_stream(path, compression="detect") as stream:
        text = io.TextIOWrapper(stream, encoding=encoding, newline="")
        head = text.read(1 << 20)
    if not head.strip():
        raise SourceError("the file is empty.", path, "Leave it out.")
    head = head.lstrip("\r\n")
    marks = _delimiters(path, options)
    rows = {mark: next(csv.reader(io.StringIO(head, newline=""), delimiter=mark)) for mark in marks}
    delimiter = max(rows, key=lambda mark: len(rows[mark]))
    return delimiter, rows[delimiter]


def _delimiters(path: str, options: TextOptions) -> str:
    if options.delimiter:
        return options.delimiter
    return "\t" if _format(Path(path)) in {".tsv", ".tab"} else _DELIMITERS


def _check_names(raw: RawFile) -> None:
    names = raw.table.column_names
    remedy = "Rename it; if the file has no header line, give --header a,b,c." if raw.text else "Rename it."
    for name in names:
        if not name.strip():
            raise SourceError(f"column {names.index(name) + 1} has no name.", raw.path, remedy)
        if names.count(name) > 1:
            raise SourceError(f"{names.count(name)} columns have the name '{name}'.", raw.path, remedy)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def _reading_remedy(error: Exception) -> str:
    text = str(error).lower()
    if isinstance(error, UnicodeError) or "utf8" in text or "utf-8" in text:
        return "If it is not in UTF-8, name its encoding, such as --encoding latin-1."
    if "csv parse error" in text:
        return "Mend that line, or give --delimiter if the cells are separated by something else."
    return "Check that the file is whole and of the type that its ending says."


_Reader = Callable[[str, TextOptions], RawFile]
_TEXT: dict[str, _Reader] = dict.fromkeys((".csv", ".tsv", ".tab", ".txt"), _read_text)
_READERS: dict[str, _Reader] = {
    ".parquet": _read_parquet,
    ".pq": _read_parquet,
    ".arrow": _read_arrow,
    ".feather": _read_arrow,
    **_TEXT,
}
