"""Mosaic MDS: shards that MDSWriter wrote (see golden/README.md), and what is said of damaged ones."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from distmtl.data.importers.mosaic import INDEX
from distmtl.errors import SourceError
from tests.data.importers.laws import opened, rows_of

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN / "mds" / "train", tmp_path / "train"))


def sample(i: int) -> dict[str, object]:
    """What the golden folder was written from."""
    return {
        "age": i - 1,
        "big": 10**i,
        "exact": i / 8,
        "fixed": (np.arange(6.0).reshape(2, 3) + i).tolist(),
        "free": (np.ones((i + 1, 2)) * i).tolist(),
        "half": i / 2,
        "meta.score": float(i) if i % 2 else i + 0.5,
        "meta.tags": ["a"] * i,
        "name": "né" * i,
        "price": i / 4,
        "raw": bytes([i]) * i,
        "small": i,
        "typed": list(range(i + 1)),
        "w": i / 4,
    }


@pytest.mark.parametrize(("split", "rows"), [("train", 5), ("val", 3), ("test", 2)])
def test_all_encodings(split: str, rows: int) -> None:
    raw = opened(GOLDEN / "mds" / split)
    found = rows_of(raw)
    assert all(bytes(row.pop("photo")).startswith(b"\x89PNG") for row in found)  # type: ignore[call-overload]
    assert found == [sample(i) for i in range(rows)]
    kinds = {name: raw.schema.field(name).type for name in ("age", "small", "half", "w", "fixed", "typed")}
    assert kinds == {
        "age": pa.int64(),
        "small": pa.uint8(),
        "half": pa.float16(),
        "w": pa.float32(),
        "fixed": pa.list_(pa.list_(pa.float32())),
        "typed": pa.list_(pa.int16()),
    }


def test_the_plain_shard_is_read_where_both_are_kept(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(GOLDEN / "mds" / "val", tmp_path / "val"))
    index = json.loads((folder / INDEX).read_text())
    for shard in index["shards"]:
        packed = folder / shard["zip_data"]["basename"]
        with pa.input_stream(str(packed), compression="zstd") as file:
            (folder / shard["raw_data"]["basename"]).write_bytes(file.read())
        packed.write_bytes(b"")
    assert len(rows_of(opened(folder))) == 3


def test_nothing_is_unpickled() -> None:
    with pytest.raises(SourceError, match=r"column 'thing' is encoded as 'pkl'.*--drop thing"):
        _ = opened(GOLDEN / "mds_pickle").schema
    assert rows_of(opened(GOLDEN / "mds_pickle", drop=("thing",))) == [
        {"a": 1, "thing": None},
        {"a": 2, "thing": None},
    ]


def test_a_shard_that_ends_early(folder: Path) -> None:
    shard = folder / "shard.00001.mds"
    data = shard.read_bytes()
    for length in [0, 3, 4, 10, 200, len(data) - 1]:
        shard.write_bytes(data[:length])
        with pytest.raises(SourceError, match="ends early") as caught:
            list(opened(folder).batches())
        assert caught.value.where == str(shard)


@pytest.mark.parametrize("split", ["val", "test"])
def test_a_compressed_shard_that_ends_early(tmp_path: Path, split: str) -> None:
    folder = Path(shutil.copytree(GOLDEN / "mds" / split, tmp_path / split))
    shard = next(folder.glob("shard.00000.*"))
    shard.write_bytes(shard.read_bytes()[:-20])
    with pytest.raises(SourceError) as caught:
        list(opened(folder).batches())
    assert caught.value.where == str(shard)


def test_every_damaged_byte_of_a_shard_is_an_error_or_changes_values_only(folder: Path) -> None:
    shard = folder / "shard.00000.mds"
    data = shard.read_bytes()
    for place in range(0, len(data), 3):
        shard.write_bytes(data[:place] + bytes([data[place] ^ 0x81]) + data[place + 1 :])
        rows, where = outcome(folder)
        assert rows == 5 or where in {str(shard), str(folder)}


def outcome(folder: Path) -> tuple[int, str]:
    """Rows of a folder, or what is said to be damaged."""
    try:
        return sum(batch.num_rows for batch in opened(folder).batches()), ""
    except SourceError as error:
        return 0, error.where


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": 9}, "samples, but index.json says 9"),
        ({"format": "json"}, "of format 'json', not mds"),
        ({"version": 1}, "version is 1, not 2"),
        ({"column_names": ["a"]}, "not an index of MDS shards"),
        ({"raw_data": {"basename": "../x.mds", "bytes": 1}}, "is not in its folder"),
        ({"raw_data": {"basename": "gone.mds", "bytes": 1}}, "cannot be read"),
        ({"raw_data": {"basename": "shard.00000.mds", "bytes": 7}}, "index.json says 7"),
        (
            {"raw_data": {"basename": "gone.mds", "bytes": 1}, "zip_data": {"basename": "x"}, "compression": "snappy"},
            "compressed by 'snappy'",
        ),
    ],
)
def test_an_index_that_does_not_fit(folder: Path, change: dict[str, object], message: str) -> None:
    index = json.loads((folder / INDEX).read_text())
    index["shards"] = [shard | change for shard in index["shards"]]
    (folder / INDEX).write_text(json.dumps(index))
    with pytest.raises(SourceError, match=message):
        list(opened(folder).batches())


def test_an_index_that_is_none(folder: Path) -> None:
    for text in ("", "[]", "{}", '{"shards": 3}', '{"shards": [3]}'):
        (folder / INDEX).write_text(text)
        with pytest.raises(SourceError, match="not an index") as caught:
            _ = opened(folder).schema
        assert caught.value.where.endswith(INDEX)


def write(folder: Path, encodings: dict[str, str], samples: list[list[bytes]]) -> Path:
    """A folder of one shard, whose columns are all of variable size."""
    bodies = [b"".join(struct.pack("<I", len(value)) for value in row) + b"".join(row) for row in samples]
    start = 4 * (len(bodies) + 2)
    ends = np.cumsum([start, *map(len, bodies)])
    data = struct.pack(f"<{len(bodies) + 2}I", len(bodies), *ends) + b"".join(bodies)
    folder.mkdir()
    (folder / "shard.00000.mds").write_bytes(data)
    shard = {
        "column_names": list(encodings),
        "column_encodings": list(encodings.values()),
        "column_sizes": [None] * len(encodings),
        "compression": None,
        "format": "mds",
        "raw_data": {"basename": "shard.00000.mds", "bytes": len(data), "hashes": {}},
        "samples": len(bodies),
        "version": 2,
        "zip_data": None,
    }
    (folder / INDEX).write_text(json.dumps({"version": 2, "shards": [shard]}))
    return folder


@pytest.mark.parametrize(
    ("encoding", "good", "bad"),
    [
        ("json", b"[1]", b"[1"),
        ("str", "é".encode(), b"\xff"),
        ("str_int", b"3", b"x"),
        ("ndarray", bytes([8, 4, 1, 7]), bytes([99, 4, 1, 7])),
        ("ndarray:int16", bytes([4, 1, 7, 0]), bytes([4, 2, 7, 0])),
    ],
)
def test_a_damaged_sample_is_named(tmp_path: Path, encoding: str, good: bytes, bad: bytes) -> None:
    assert len(rows_of(opened(write(tmp_path / "good", {"a": encoding}, [[good], [good]])))) == 2
    with pytest.raises(SourceError, match=r"shard\.00000\.mds, sample 1 cannot be decoded"):
        list(opened(write(tmp_path / "bad", {"a": encoding}, [[good], [bad]])).batches())


@pytest.mark.parametrize("encoding", ["pil", "jpeg_array", "list[jpeg]", "pkl", "new"])
def test_other_encodings_are_refused(tmp_path: Path, encoding: str) -> None:
    folder = write(tmp_path / "x", {"a": encoding, "b": "str"}, [[b"1", b"2"]])
    with pytest.raises(SourceError, match="--drop a"):
        _ = opened(folder).schema
    assert rows_of(opened(folder, drop=("a",))) == [{"a": None, "b": "2"}]
