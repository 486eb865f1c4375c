"""Text files as people have them: delimiters, headers, encodings, and what is said when they are broken."""

import gzip
from pathlib import Path

import pytest

from distmtl.data.importers import TextOptions, stem
from distmtl.data.importers.base import BATCH_BYTES
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, table_of


def write(folder: Path, text: str | bytes, name: str = "a.csv") -> str:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return str(path)


def read(path: str, **options: object) -> dict[str, list[object]]:
    return table_of(opened(path, text=TextOptions(**options))).to_pydict()  # type: ignore[arg-type]


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
    assert "--header" in opened(path).notes[0]
    assert opened(path, text=TextOptions(header=("x", "y"))).notes == ()


def test_encoding_can_be_given(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n1,café\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"line 2 is not in UTF-8. .*--encoding latin-1"):
        read(path)
    assert read(path, encoding="latin-1")["y"] == ["café"]


def test_index_of_pandas_is_left_out(tmp_path: Path) -> None:
    found = opened(write(tmp_path, ",x\n0,5\n1,6\n"))
    assert table_of(found).to_pydict() == {"x": ["5", "6"]}
    assert "no name" in found.notes[0]


def test_a_file_larger_than_a_batch(tmp_path: Path) -> None:
    rows = 3 * BATCH_BYTES // 10
    path = write(tmp_path, "x,y\n" + "".join(f"{i:07d},a\n" for i in range(rows)))
    raw = opened(path)
    assert len(list(raw.batches())) > 3
    table = table_of(raw)
    assert table["x"].to_pylist() == [f"{i:07d}" for i in range(rows)]


def test_the_first_batch_does_not_read_the_file(tmp_path: Path) -> None:
    head = b"x,y\n" + b"1,2\n" * 8_000_000
    path = write(tmp_path, head + b"broken\n")
    batches = opened(path).batches()
    assert next(batches).num_rows
    with pytest.raises(SourceError, match="Row #8000002"):
        list(batches)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", " \n\n", "empty"),
        ("a.csv", "x,y\n", "no rows"),
        ("a.csv", "x,y,x\n1,2,3\n", "2 columns have the name 'x'"),
        ("a.csv", "x,,z\n1,2,3\n", "column 2 has no name"),
        ("a.csv", "x,y\n1,2\n3\n", "Expected 2 columns, got 1"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, text: str, message: str) -> None:
    path = write(tmp_path, text, name)
    with pytest.raises(SourceError, match=message) as caught:
        list(opened(path).batches())
    assert caught.value.where == path
    assert caught.value.exit_code == 2


def test_a_quote_that_is_left_open(tmp_path: Path) -> None:
    path = write(tmp_path, "x,y\n" + "1,2\n" * 1000 + '3,"4\n' + "1,2\n" * 3_000_000)
    with pytest.raises(SourceError, match="close a quote") as caught:
        list(opened(path).batches())
    assert caught.value.where == path
