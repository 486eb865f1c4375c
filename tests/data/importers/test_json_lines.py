"""JSON Lines: types over the whole file, wherever it is cut into blocks, and errors that name the line."""

import bz2
import gzip
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.importers import json_lines
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of

BLOCKS = pytest.mark.parametrize("block", [1, 20, 1 << 22])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.jsonl"


def flat(row: dict[str, object], names: list[str]) -> dict[str, object]:
    values: dict[str, object] = dict.fromkeys(names)
    for name, value in row.items():
        inner = {f"{name}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {name: value}
        values |= {name: part for name, part in inner.items() if name in names}
    return values


@BLOCKS
def test_types_are_those_of_all_lines(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_BLOCK", block)
    rows = [
        {"n": 1, "word": None, "inner": {"a": 1}, "list": []},
        {"n": 2.5, "late": True},
        {"n": None, "word": "2020-01-01", "inner": None},
        {"word": "é", "inner": {"b": [1, 2]}, "list": [0.5]},
    ]
    path.write_text("\n".join(json.dumps(row) for row in rows[:2]) + "\n\n" + "\r\n".join(map(json.dumps, rows[2:])))
    raw = opened(path)
    number = pa.float64()
    assert dict(zip(raw.schema.names, raw.schema.types, strict=True)) == {
        "n": number,
        "word": pa.string(),
        "inner.a": pa.int64(),
        "inner.b": pa.list_(pa.int64()),
        "list": pa.list_(number),
        "late": pa.bool_(),
    }
    assert rows_of(raw) == [flat(row, raw.schema.names) for row in rows]


VALUES = st.one_of(st.none(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False, width=32))
ROW = st.fixed_dictionaries(
    {},
    optional={
        "n": VALUES,
        "list": st.none() | st.lists(st.integers(0, 9), max_size=3),
        "inner": st.none() | st.fixed_dictionaries({"x": VALUES, "word": st.none() | st.text(max_size=4)}),
    },
)


@settings(deadline=None)
@given(rows=st.lists(ROW, min_size=1, max_size=12), block=st.integers(1, 200), most=st.integers(1, 5))
def test_blocks_of_any_size_give_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], block: int, most: int
) -> None:
    path = tmp_path_factory.mktemp("x") / "a.ndjson"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = opened(path)
    if not whole.schema.names:
        return
    expected = rows_of(whole)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_lines, "_BLOCK", block)
        patch.setattr(json_lines, "BATCH_ROWS", most)
        cut = opened(path)
        assert cut.schema == whole.schema
        assert rows_of(cut) == expected
    kinds = {name for row in rows for name, value in row.items() if value is not None and value != {}}
    assert len(expected) == len(rows)
    assert {name.split(".")[0] for name, kind in zip(whole.schema.names, whole.schema.types, strict=True)} >= kinds
    for row, got in zip(rows, expected, strict=True):
        assert got == flat(row, whole.schema.names)


@pytest.mark.parametrize(("ending", "compress"), [(".gz", gzip.compress), (".bz2", bz2.compress)])
def test_compressed(path: Path, ending: str, compress: object) -> None:
    packed = path.with_name(f"a.jsonl{ending}")
    packed.write_bytes(compress(b'\xef\xbb\xbf{"a":1}\n{"a":2}\n'))  # type: ignore[operator]
    assert rows_of(opened(packed)) == [{"a": 1}, {"a": 2}]
    packed.write_bytes(packed.read_bytes()[:-6])
    with pytest.raises(SourceError) as caught:
        list(opened(packed).batches())
    assert caught.value.where == str(packed)


@BLOCKS
@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a":1}\n' * 16 + '{"a":', "line 17 is not JSON: Expecting value at character 6"),
        ('{"a":1}\n\n{"a":"x"}\n', "line 3: 'a' is a string, but a number on a line before.*--drop a"),
        ('{"a":true}\n{"a":1}\n', "line 2: 'a' is a number, but true or false"),
        ('{"a":{"b":1}}\n{"a":{"b":"x"}}\n', "line 2: 'a'"),
        ('{"a":[1]}\n{"a":[1,"x"]}\n', "line 2: the elements of 'a' differ"),
        ('{"a":1,"a":2}\n', "line 1 gives 'a' twice"),
        ('{"a":1}\n[1]\n', "line 2 is not a JSON object"),
        ('[{"a":1},\n{"a":2}]\n', r"line 1 is not JSON.*jq -c '\.\[\]'"),
        ('{\n"a":1\n}\n', "line 1 is not JSON.*jq -c"),
        (b'{"a":"x"}\n{"a":"\xff"}\n', "line 2 is not in UTF-8"),
        ('{"a.b":1,"a":{"b":2}}\n', r"2 columns have the name 'a\.b'"),
        ('{"":1}\n', "column 1 has no name"),
        ("\n\n", "no rows"),
        ("", "no rows"),
        ("[" * 100_000 + "\n", "line 1"),
    ],
)
def test_broken_files(path: Path, text: str | bytes, message: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_BLOCK", max(block, len(text) // 1000))
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    with pytest.raises(SourceError, match=message) as caught:
        list(opened(path).batches())
    assert caught.value.where == str(path)


def test_a_line_without_end_is_not_read_to_its_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_LINE", 1000)
    path.write_text("[" + '{"a":1},' * 1_000_000)
    with pytest.raises(SourceError, match=r"line 1 is longer.*jq -c '\.\[\]'"):
        _ = opened(path).schema


@BLOCKS
def test_dropped_columns_may_hold_anything(path: Path, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "_BLOCK", block)
    path.write_text('{"a":1,"b":[1,"x"]}\n{"a":2,"b":3}\n{"a":3,"b":{"c":1}}\n')
    raw = opened(path, drop=("b",))
    assert rows_of(raw) == [{"a": 1, "b": None}, {"a": 2, "b": None}, {"a": 3, "b": None}]


def test_integers_beyond_64_bits_are_floats(path: Path) -> None:
    path.write_text('{"a":12345678901234567890}\n{"a":1}\n')
    assert rows_of(opened(path)) == [{"a": 12345678901234567890.0}, {"a": 1.0}]


def test_times_of_one_form_are_times(path: Path) -> None:
    path.write_text('{"a":"2020-01-01","b":"2020-01-01"}\n{"a":"2020-01-02 10:00:00","b":"soon"}\n')
    assert opened(path).schema.types == [pa.timestamp("s"), pa.string()]
