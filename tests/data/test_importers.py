"""Text files as people have them: delimiters, headers, encodings, and what is said when they are broken."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distmtl.data.importers import TextOptions, expand_files, read_file, stem
from distmtl.errors import SourceError


def write(folder: Path, text: str | bytes, name: str = "a.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(path: str, **options: object) -> dict[str, list[object]]:
    return read_file(path, TextOptions(**options)).table.to_pydict()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", "x,y\n1,a b\n2,c\n"),
        ("a.csv", "x;y\n1;a b\n2;c\n"),
        ("a.csv", "x|y\r\n1|a b\r\n2|c"),
        ("a.csv", '"x"\t"y"\n1\t"a b"\n2\tc\n'),
        ("a.tsv", "x\ty\n1\ta b\n2\tc\n"),
        ("a.csv", "\ufeffx,y\n1,a b\n2,c\n"),
        ("a.csv", "\nx,y\n1,a b\n\n2,c\n"),
        ("a.csv", " x , y \n1,a b\n2,c\n"),
    ],
)
def test_text_forms(tmp_path: Path, name: str, text: str) -> None:
    assert read(write(tmp_path, text, name)) == {"x": ["1", "2"], "y": ["a b", "c"]}


def test_gzip_and_newlines_in_cells(tmp_path: Path) -> None:
    path = write(tmp_path, gzip.compress(b'x,y\n1,"a\nb, ""c"""\n'), "train.csv.gz")
    assert read(path) == {"x": ["1"], "y": ['a\nb, "c"']}
    assert stem(path) == "train"


def test_header_can_be_given(tmp_path: Path) -> None:
    assert read(write(tmp_path, "1,a\n2,b\n"), header=("x", "y")) == {"x": ["1", "2"], "y": ["a", "b"]}


def test_a_header_that_looks_like_a_row_is_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "39,a\n2,b\n")
    assert "--header" in read_file(path, TextOptions()).notes[0]
    assert read_file(path, TextOptions(header=("x", "y"))).notes == ()


def test_encoding_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n1,café\n".encode("latin-1"))
    with pytest.raises(SourceError, match="--encoding latin-1"):
        read(path)
    assert read(path, encoding="latin-1")["y"] == ["café"]


def test_index_of_pandas_is_left_out(tmp_path: Path) -> None:
    found = read_file(write(tmp_path, ",x\n0,5\n1,6\n"), TextOptions())
    assert found.table.column_names == ["x"]
    assert "no name" in found.notes[0]
    pq.write_table(pa.table({"x": [1], "__index_level_0__": [7]}), tmp_path / "b.parquet")
    assert read_file(str(tmp_path / "b.parquet"), TextOptions()).table.column_names == ["x"]


def test_arrow_files_and_streams(tmp_path: Path) -> None:
    table = pa.table({"x": [1, 2]})
    for name, opener in (("f.arrow", pa.ipc.new_file), ("s.arrow", pa.ipc.new_stream)):
        with pa.OSFile(str(tmp_path / name), "wb") as sink, opener(sink, table.schema) as writer:
            writer.write_table(table)
        assert read(str(tmp_path / name)) == {"x": [1, 2]}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", " \n\n", "empty"),
        ("a.csv", "x,y\n", "no rows"),
        ("a.csv", "x,y,x\n1,2,3\n", "2 columns have the name 'x'"),
        ("a.csv", "x,,z\n1,2,3\n", "column 2 has no name"),
        ("a.csv", "x,y\n1,2\n3\n", "Expected 2 columns, got 1"),
        ("a.parquet", "not parquet", "cannot be read"),
        ("a.arrow", "not arrow", "cannot be read"),
        ("a.xlsx", "", r"'\.xlsx' cannot be packed"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(SourceError, match=message) as caught:
        read_file(path, TextOptions())
    assert caught.value.where == path
    assert caught.value.exit_code == 2


def test_files_are_found(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "notes.md", "c.parquet"):
        write(tmp_path, "x\n1\n", name)
    names = ["a.csv", "b.csv", "c.parquet"]
    assert [Path(f).name for f in expand_files([str(tmp_path)])] == names
    assert [Path(f).name for f in expand_files([str(tmp_path / "*.csv"), str(tmp_path / "a.csv")])] == names[:2]


@pytest.mark.parametrize("pattern", ["nowhere.csv", "no*.csv", "s3://bucket/a.csv"])
def test_missing_files_are_named(tmp_path: Path, pattern: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SourceError, match="file") as caught:
        expand_files([pattern])
    assert pattern in str(caught.value)


def test_folder_without_data_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="has no file"):
        expand_files([str(tmp_path)])
