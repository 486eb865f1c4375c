"""Packing: what comes out is what went in, the splits are what was asked for, and a failure leaves nothing."""

import datetime as dt
import math
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmtl.data.infer import TypingOptions
from distmtl.data.ingest.place import by_fraction
from distmtl.data.manifest import Column
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.shards import choose_block_rows
from distmtl.data.source import Source, open_source
from distmtl.data.splits import splits_of_names
from distmtl.data.verify import verify
from distmtl.errors import SourceError, StoreError
from distmtl.features import FIRST_ID, MISSING_ID


def write(folder: Path, name: str, columns: Mapping[str, object]) -> str:
    path = folder / name
    table = pa.table(dict(columns))
    if path.suffix == ".csv":
        pacsv.write_csv(table, path)
    else:
        pq.write_table(table, path)
    return str(path)


def rows_of(source: Source, split: str) -> list[tuple[object, ...]]:
    """The rows of a split in order, ids turned back into words and tensors into bytes."""
    part = source.split(split)
    names = [column.name for column in source.manifest.columns]
    rows: list[tuple[object, ...]] = []
    for block in range(part.blocks):
        table = part.read_block(block, names)
        values = [[_plain(source.column(name), value) for value in table[name].to_pylist()] for name in names]
        rows += zip(*values, strict=True)
    return rows


def _plain(column: Column, value: Any) -> object:
    if column.kind != "categorical":
        return value
    return None if value == MISSING_ID else column.vocabulary[value - FIRST_ID] if value >= FIRST_ID else "<unknown>"


def keys_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


FLOATS = st.floats(allow_nan=True, allow_infinity=True)
ROWS = st.fixed_dictionaries(
    {
        "float": st.one_of(st.none(), FLOATS),
        "single": st.one_of(st.none(), st.floats(width=32)),
        "int": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1)),
        "bool": st.one_of(st.none(), st.booleans()),
        "text": st.one_of(st.none(), st.text(st.characters(exclude_categories=["Cs"]), max_size=5)),
        "tensor": st.lists(st.integers(0, 255), min_size=3, max_size=3),
    }
)
TYPES = {
    "float": pa.float64(),
    "single": pa.float32(),
    "int": pa.int64(),
    "bool": pa.bool_(),
    "text": pa.string(),
    "tensor": pa.list_(pa.uint8(), 3),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    splits=st.fixed_dictionaries(
        {"train": st.lists(ROWS, min_size=1, max_size=30), "valid": st.lists(ROWS, max_size=9)}
    ),
    block_rows=st.sampled_from([1, 4, 32]),
    order=st.sampled_from(["shuffle", "keep"]),
    compression=st.sampled_from(["none", "lz4", "zstd"]),
)
def test_rows_survive(splits: dict[str, list[dict[str, Any]]], block_rows: int, order: Any, compression: Any) -> None:
    splits = {name: rows for name, rows in splits.items() if rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            split: [write(folder, f"{split}.parquet", {c: pa.array([r[c] for r in rows], t) for c, t in TYPES.items()})]
            for split, rows in splits.items()
        }
        options = PackOptions(block_rows=block_rows, order=order, compression=compression, shard_bytes=4096)
        pack(files, str(folder / "out"), options)
        source = open_source(str(folder / "out"))
        assert not verify(source).problems
        double = source.column("float").dtype == "float64"
        known = {row["text"] for row in splits["train"]}
        for split, rows in splits.items():
            expected = [_expected(row, known, double=double) for row in rows]
            found = rows_of(source, split)
            assert Counter(map(repr, found)) == Counter(map(repr, expected))
            if order == "keep":
                assert repr(found) == repr(expected)
            assert source.split(split).block_row_counts.sum() == len(rows)


def _expected(row: dict[str, Any], known: set[str | None], *, double: bool) -> tuple[object, ...]:
    number = row["float"] if double or row["float"] is None else _single(row["float"])
    floats = [None if value is None or math.isnan(value) else value for value in (number, row["single"])]
    text = row["text"] if row["text"] in known or row["text"] is None else "<unknown>"
    return (*floats, row["int"], None if row["bool"] is None else int(row["bool"]), text, bytes(row["tensor"]))


def _single(value: float) -> float:
    return float(np.float32(value))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(-(10**12), 10**12), st.text("ab ,\"'\n;é", max_size=6)), min_size=1, max_size=20))
def test_csv_rows_survive(rows: list[tuple[int, str]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A first row that fixes the kinds, whatever is drawn: a number with a sign and a word.
        rows = [(-1, "word"), *rows]
        path = write(folder, "a.csv", {"n": [n for n, _ in rows], "t": [t for _, t in rows]})
        pack({"train": [path]}, str(folder / "out"), PackOptions(order="keep"))
        assert rows_of(open_source(str(folder / "out")), "train") == [(n, t.strip() or None) for n, t in rows]


@pytest.fixture
def table(tmp_path: Path) -> str:
    rows = 1000
    return write(
        tmp_path,
        "table.parquet",
        {"id": np.arange(rows), "word": [f"w{i % 7}" for i in range(rows)], "part": ["train", "dev"] * (rows // 2)},
    )


def test_same_input_and_seed_give_the_same_bytes(table: str, tmp_path: Path) -> None:
    for out, seed in (("a", 0), ("b", 0), ("c", 1)):
        pack([table], str(tmp_path / out), PackOptions(seed=seed))
    first, again, other = (keys_of(tmp_path / out) for out in "abc")
    assert first == again
    assert first.keys() != other.keys()


def test_default_fractions_are_exact_and_said(table: str, tmp_path: Path) -> None:
    notes: list[str] = []
    manifest = pack([table], str(tmp_path / "out"), note=notes.append)
    assert {name: info.rows for name, info in manifest.splits.items()} == {"train": 800, "valid": 100, "test": 100}
    assert any("at random: train 0.8, valid 0.1, test 0.1" in note for note in notes)
    source = open_source(str(tmp_path / "out"))
    ids = [row[0] for split in manifest.splits for row in rows_of(source, split)]
    assert sorted(ids) == list(range(1000))  # type: ignore[type-var]
    assert ids[:800] != sorted(ids[:800])  # type: ignore[type-var]


def test_split_column(table: str, tmp_path: Path) -> None:
    pack([table], str(tmp_path / "out"), PackOptions(split_column="part", order="keep"))
    source = open_source(str(tmp_path / "out"))
    assert [column.name for column in source.manifest.columns] == ["id", "word"]
    assert [row[0] for row in rows_of(source, "valid")] == list(range(1, 1000, 2))


def test_file_names_give_splits(tmp_path: Path) -> None:
    files = [
        write(tmp_path, f"{name}.csv", {"x": [1, 2]}) for name in ("validation", "train-00000-of-00002", "train_1")
    ]
    manifest = pack(files, str(tmp_path / "out"))
    assert {name: info.rows for name, info in manifest.splits.items()} == {"train": 4, "valid": 2}


def test_names_of_splits() -> None:
    assert splits_of_names(["train.csv"]) is None
    assert splits_of_names(["a.csv", "b.csv"]) is None
    assert splits_of_names(["d/test.csv.gz", "d/train.csv.gz"]) == {
        "train": ["d/train.csv.gz"],
        "test": ["d/test.csv.gz"],
    }
    with pytest.raises(SourceError, match=r"'more\.csv' is not"):
        splits_of_names(["train.csv", "test.csv", "more.csv"])


@given(st.integers(1, 300), st.integers(0, 2**63))
def test_fractions_cover_each_row_once(rows: int, seed: int) -> None:
    rule, counts = by_fraction(rows, {"train": 0.7, "valid": 0.2, "test": 0.1}, seed)
    batch = pa.record_batch({"x": np.arange(rows)})
    splits = np.concatenate([rule.split_of(0, first, batch.slice(first, 7)) for first in range(0, rows, 7)])
    assert np.bincount(splits, minlength=3).tolist() == counts
    assert sum(counts) == rows
    assert abs(counts[1] - 0.2 * rows) <= 1


def test_few_rows_leave_splits_out(tmp_path: Path) -> None:
    notes: list[str] = []
    manifest = pack([write(tmp_path, "a.csv", {"x": [1, 2]})], str(tmp_path / "out"), note=notes.append)
    assert list(manifest.splits) == ["train"]
    assert any("'test' is left out" in note for note in notes)


def test_numbers_of_different_width_merge(tmp_path: Path) -> None:
    first = write(tmp_path, "a.parquet", {"x": pa.array([1], pa.int32()), "y": pa.array([None], pa.null()), "z": ["a"]})
    other = write(tmp_path, "b.parquet", {"z": pa.array(["b"]).dictionary_encode(), "x": [2.5], "y": ["w"]})
    pack({"train": [first, other]}, str(tmp_path / "out"), PackOptions(order="keep"))
    assert rows_of(open_source(str(tmp_path / "out")), "train") == [(1.0, None, "a"), (2.5, "w", "b")]


def test_vocabulary_is_of_train_and_can_be_cut(tmp_path: Path) -> None:
    train = write(tmp_path, "train.parquet", {"w": ["b", "b", "c", "a", "c", None, "d"]})
    valid = write(tmp_path, "valid.parquet", {"w": ["z", "b", None, "a"]})
    manifest = pack([train, valid], str(tmp_path / "out"), PackOptions(max_vocabulary=3, order="keep"))
    assert manifest.columns[0].vocabulary == ("a", "b", "c")
    statistics = manifest.splits["train"].statistics["w"], manifest.splits["valid"].statistics["w"]
    assert [(s.nulls, s.unknown, s.counts) for s in statistics] == [(1, 1, (1, 2, 2)), (1, 1, (1, 1, 0))]  # type: ignore[union-attr]
    source = open_source(str(tmp_path / "out"))
    assert [row[0] for row in rows_of(source, "valid")] == ["<unknown>", "b", None, "a"]


def test_a_source_can_be_packed_from_shards(tmp_path: Path) -> None:
    """Tensor columns say in their field what they are, so shards are files like any other."""
    images = pa.FixedShapeTensorArray.from_numpy_ndarray(np.arange(24, dtype=np.float32).reshape(4, 2, 3))
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": images}), path)
    pack({"train": [str(path)]}, str(tmp_path / "one"), PackOptions(order="keep"))
    shard = next((tmp_path / "one").rglob("*-*.parquet"))
    manifest = pack({"train": [str(shard)]}, str(tmp_path / "two"), PackOptions(order="keep"))
    assert (manifest.columns[0].dtype, manifest.columns[0].shape) == ("float32", (2, 3))
    assert rows_of(open_source(str(tmp_path / "two")), "train") == rows_of(open_source(str(tmp_path / "one")), "train")


def test_overwriting_replaces_and_keeps_foreign_files(table: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    pack([table], str(out))
    before = keys_of(out)
    with pytest.raises(SourceError, match="--overwrite"):
        pack([table], str(out))
    assert keys_of(out) == before
    manifest = pack([table], str(out), PackOptions(seed=1, overwrite=True))
    after = keys_of(out)
    assert set(before) & set(after) == {"notes.txt", "manifest.json"}
    assert open_source(str(out)).manifest.digest == manifest.digest
    assert not verify(open_source(str(out))).problems


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_failed_pack_leaves_what_was_there(
    table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, overwrite: bool
) -> None:
    out = tmp_path / "out"
    if overwrite:
        pack([table], str(out))
    before = keys_of(out)

    def fail(*_: object) -> str:
        raise StoreError("the disk is full.")

    monkeypatch.setattr("distmtl.data.publish.Publication.write_blocks", fail)
    with pytest.raises(StoreError, match="disk is full"):
        pack([table], str(out), PackOptions(seed=5, overwrite=overwrite))
    assert keys_of(out) == before


def test_an_interrupted_shard_leaves_nothing(table: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distmtl.data.ingest.write import ShardWriter

    def blocks(*_: object) -> Iterator[pa.RecordBatch]:
        raise KeyboardInterrupt

    monkeypatch.setattr(ShardWriter, "_blocks", blocks)
    with pytest.raises(KeyboardInterrupt):
        pack([table], str(tmp_path / "out"))
    assert keys_of(tmp_path / "out") == {}


def _mixed(folder: Path, first: Mapping[str, object], other: Mapping[str, object]) -> Sequence[str]:
    return [write(folder, "a.parquet", first), write(folder, "b.parquet", other)]


@pytest.mark.parametrize(
    ("first", "other", "words"),
    [
        ({"x": [1], "y": [1]}, {"x": [1]}, ("a.parquet", "b.parquet", "'y'")),
        ({"x": [1]}, {"x": [1], "y": [1]}, ("a.parquet", "b.parquet", "'y'")),
        ({"x": [1]}, {"x": ["w"]}, ("a.parquet", "b.parquet", "'x'", "int64", "string")),
        ({"x": [True]}, {"x": [dt.date(2024, 1, 1)]}, ("a.parquet", "b.parquet", "'x'", "bool", "date32")),
    ],
)
def test_files_that_disagree(
    tmp_path: Path, first: Mapping[str, object], other: Mapping[str, object], words: tuple[str, ...]
) -> None:
    with pytest.raises(SourceError) as caught:
        pack(_mixed(tmp_path, first, other), str(tmp_path / "out"))
    assert all(word in str(caught.value) for word in words)
    assert "--drop" in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_numbers_that_the_wider_type_cannot_hold(tmp_path: Path) -> None:
    files = _mixed(tmp_path, {"x": [0.5]}, {"x": [2**53 + 1]})
    with pytest.raises(SourceError, match=r"b\.parquet: column 'x' of type int64 does not fit double"):
        pack(files, str(tmp_path / "out"))


def test_formats_do_not_mix(tmp_path: Path) -> None:
    files = [write(tmp_path, "a.parquet", {"x": [1]}), write(tmp_path, "b.csv", {"x": [1]})]
    with pytest.raises(SourceError, match="different formats"):
        pack(files, str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": {"train": 0.5, "valid": 0.4}}, "sum 1"),
        ({"fractions": {"train": 1.5, "valid": -0.5}}, "positive"),
        ({"fractions": {"a": 0.5, "b": 0.5}}, "'train'"),
        ({"fractions": {"train": 1.0}, "split_column": "part"}, "Keep one"),
        ({"split_column": "prat"}, "Did you mean 'part'"),
        ({"split_column": "id"}, "'train'"),
        ({"block_rows": 100}, "power of two"),
        ({"typing": TypingOptions(drop=("id", "word", "part"))}, "no column is left"),
        ({"typing": TypingOptions(drop=("di",))}, "'di'"),
    ],
)
def test_wrong_options(table: str, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(SourceError, match=message):
        pack([table], str(tmp_path / "out"), PackOptions(**options))
    assert not (tmp_path / "out").exists()


def test_one_file_cannot_be_in_two_splits(table: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="'train' and 'valid'"):
        pack({"train": [table], "validation": [table]}, str(tmp_path / "out"))
    with pytest.raises(SourceError, match="'train'"):
        pack({"valid": [table]}, str(tmp_path / "out"))


def test_shards_are_closed_at_their_size(table: str, tmp_path: Path) -> None:
    manifest = pack(
        {"train": [table]}, str(tmp_path / "out"), PackOptions(block_rows=64, shard_bytes=2000, order="keep")
    )
    assert len(manifest.shards) > 2
    source = open_source(str(tmp_path / "out"))
    assert [row[0] for row in rows_of(source, "train")] == list(range(1000))
    for shard in manifest.shards:  # whole Parquet files, for every other reader
        assert pq.read_table(tmp_path / "out" / shard.key).num_rows == shard.rows


@given(st.integers(1, 10**7), st.integers(1, 10**9))
def test_block_rows(row_bytes: int, rows: int) -> None:
    chosen = choose_block_rows(row_bytes, rows)
    assert chosen & (chosen - 1) == 0
    assert chosen * row_bytes <= max(row_bytes, 8 * 2**20)


def test_memory_store(table: str) -> None:
    uri = "memory://test-pack/source"
    manifest = pack([table], uri, PackOptions(overwrite=True))
    assert open_source(uri, manifest.digest).manifest == manifest


def test_packing_and_describing_load_no_torch() -> None:
    modules = "pack, source, describe, labels, summary"
    code = f"import sys; from distmtl.data import {modules}; assert not {{'torch', 'ray'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bytes_without_a_shape_are_noted(tmp_path: Path) -> None:
    notes: list[str] = []
    path = write(tmp_path, "a.parquet", {"image": pa.array([b"abcd"] * 9, pa.binary(4))})
    pack([path], str(tmp_path / "out"), note=notes.append)
    assert any("--tensor" in note for note in notes)
