"""Opening, pinning, verifying and reading a source, and every flipped bit that must not pass."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from distmtl.data.manifest import manifest_from_bytes, manifest_to_bytes, seal
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.data.summary import sample_rows, summarise
from distmtl.errors import CorruptBlockError, SourceError
from distmtl.store import Store

ROWS = 200


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.fetch.PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    index = np.arange(ROWS)
    table = pa.table(
        {
            "id": index,
            "share": pa.array(index / 7, mask=index % 5 == 0),
            "word": [None if i % 11 == 0 else f"w{i % 3}" for i in range(ROWS)],
            "image": pa.array([bytes([i] * 4) for i in range(ROWS)], pa.binary(4)),
        }
    )
    pq.write_table(table, folder / "train.parquet")
    pq.write_table(table.slice(0, 30), folder / "valid.parquet")
    pack([str(folder)], str(folder / "out"), PackOptions(block_rows=64, order="keep"))
    return folder / "out"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    for path in packed.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(packed)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


class CountingStore:
    """A store that counts requests, and changes what some of them bring."""

    def __init__(self, store: Store, spoil: Callable[[int, bytes], bytes] = lambda _, data: data) -> None:
        self.requests: list[tuple[str, int, int]] = []
        self._store = store
        self._spoil = spoil

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)

    def get_range(self, key: str, offset: int, length: int) -> memoryview:
        self.requests.append((key, offset, length))
        return memoryview(self._spoil(len(self.requests), bytes(self._store.get_range(key, offset, length))))


def through(source: Source, store: CountingStore) -> Source:
    return replace(source, store=store)  # type: ignore[arg-type]


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def test_layout_of_a_split(packed: Path) -> None:
    train = open_source(str(packed)).split("train")
    assert (train.rows, train.blocks, train.block_rows, train.short_blocks) == (200, 4, 64, ((3, 8),))
    assert train.block_row_counts.tolist() == [64, 64, 64, 8]
    assert open_source(str(packed)).split("valid").short_blocks == ((0, 30),)


def test_a_block_is_one_ranged_request(packed: Path) -> None:
    source = open_source(str(packed))
    store = CountingStore(source.store)
    split = through(source, store).split("train")
    assert store.requests == []
    table = split.read_block(1, ["word", "id"])
    assert len(store.requests) == 1
    assert table.column_names == ["word", "id"]
    assert table["id"].to_pylist() == list(range(64, 128))


def test_names_that_do_not_exist_are_answered_with_names_that_do(packed: Path) -> None:
    source = open_source(str(packed))
    with pytest.raises(SourceError, match="there are: train, valid"):
        source.split("test")
    with pytest.raises(SourceError, match="Did you mean 'share'"):
        source.split("train").read_block(0, ["shar"])
    with pytest.raises(IndexError, match="which has 4"):
        source.split("train").read_block(4, ["id"])


def test_no_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="distmtl pack"):
        open_source(str(tmp_path))


def test_versions_are_pinned(copy: Path, packed: Path) -> None:
    digest = open_source(str(copy)).manifest.digest
    assert open_source(str(copy), digest).manifest == open_source(str(packed)).manifest
    with pytest.raises(SourceError, match="no version 0123"):
        open_source(str(copy), "0123")
    other = f"manifest-{'0' * 32}.json"
    (copy / other).write_bytes((copy / "manifest.json").read_bytes())
    with pytest.raises(SourceError, match="has the digest"):
        open_source(str(copy), "0" * 32)


def test_pickles_reopen(packed: Path) -> None:
    source = open_source(str(packed))
    assert len(pickle.dumps(source)) < 500
    assert pickle.loads(pickle.dumps(source)).manifest == source.manifest
    split = pickle.loads(pickle.dumps(source.split("train")))
    assert split.read_block(3, ["id"])["id"].to_pylist() == list(range(192, 200))


def test_a_manifest_survives_the_round_trip(packed: Path) -> None:
    manifest = open_source(str(packed)).manifest
    data = manifest_to_bytes(manifest)
    assert data == (packed / "manifest.json").read_bytes() == (packed / f"manifest-{manifest.digest}.json").read_bytes()
    assert manifest_from_bytes(data, "here") == manifest


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 10**6))
def test_any_flipped_bit_of_a_manifest_is_found(packed: Path, bit: int) -> None:
    with pytest.raises(SourceError, match="damaged"):
        manifest_from_bytes(flipped((packed / "manifest.json").read_bytes(), bit), "here")


@pytest.mark.parametrize("change", [lambda data: b" " + data, lambda data: data[:-1], lambda _: b"", lambda _: b"[]"])
def test_any_other_change_of_a_manifest_is_found(packed: Path, change: Callable[[bytes], bytes]) -> None:
    with pytest.raises(SourceError, match="damaged"):
        manifest_from_bytes(change((packed / "manifest.json").read_bytes()), "here")


def test_another_version_of_the_format_is_refused_by_name(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = open_source(str(packed)).manifest
    monkeypatch.setattr("distmtl.data.manifest.VERSION", 99)
    newer = seal(
        manifest.columns, manifest.splits, manifest.shards, manifest.block_rows, manifest.blocks_key, manifest.packed
    )
    data = manifest_to_bytes(newer)
    monkeypatch.undo()
    with pytest.raises(SourceError, match="distmtl-source 99"):
        manifest_from_bytes(data, "here")


@pytest.mark.parametrize("bit", [0, 1000, 5000])
def test_a_flipped_bit_of_the_blocks_table_is_found(copy: Path, bit: int) -> None:
    path = next(copy.glob("blocks-*.arrow"))
    path.write_bytes(flipped(path.read_bytes(), bit))
    with pytest.raises(SourceError, match="blocks table is damaged"):
        open_source(str(copy))
    path.unlink()
    with pytest.raises(SourceError, match="blocks table is missing"):
        open_source(str(copy))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(bit=st.integers(0, 10**6))
def test_any_flipped_bit_of_a_block_is_found(packed: Path, bit: int) -> None:
    source = open_source(str(packed))
    store = CountingStore(source.store, lambda _, data: flipped(data, bit))
    with pytest.raises(CorruptBlockError) as caught:
        through(source, store).split("train").read_block(2, ["id"])
    assert len(store.requests) == 2
    shard = source.manifest.shards[0].key
    assert all(word in str(caught.value) for word in ("block 2", "'train'", shard, str(packed), "--verify"))
    assert pickle.loads(pickle.dumps(caught.value)).what == caught.value.what


def test_a_bit_flipped_on_the_way_is_fetched_again(packed: Path) -> None:
    source = open_source(str(packed))
    store = CountingStore(source.store, lambda request, data: flipped(data, 77) if request == 1 else data)
    assert through(source, store).split("train").read_block(0, ["id"])["id"][5].as_py() == 5
    assert len(store.requests) == 2


def test_summary_and_sample(packed: Path) -> None:
    source = open_source(str(packed))
    found = json.loads(json.dumps(summarise(source.uri, source.manifest)))
    assert found["splits"] == {"train": {"rows": 200, "blocks": 4}, "valid": {"rows": 30, "blocks": 1}}
    assert found["columns"]["share"]["nulls"] == {"train": 40, "valid": 6}
    assert found["columns"]["word"]["balance"]["train"] == {"w0": 60, "w1": 61, "w2": 60}
    rows = sample_rows(source, "train", 70)
    assert len(rows) == 70
    assert rows[1] == {"id": 1, "share": pytest.approx(1 / 7), "word": "w1", "image": "<uint8 [4]>"}
    assert rows[0]["word"] is None
