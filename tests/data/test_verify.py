"""``verify`` reads everything, says what is wrong and where, and is not fooled by a store that is gone."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distmtl.data.manifest import LATEST_KEY, manifest_key
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.data.verify import verify
from distmtl.errors import StoreError

ROWS = 1000


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("verify")
    table = pa.table({"id": np.arange(ROWS), "x": np.random.default_rng(0).random(ROWS)})
    pq.write_table(table, folder / "train.parquet")
    pq.write_table(table.slice(0, 30), folder / "valid.parquet")
    pack([str(folder)], str(folder / "out"), PackOptions(block_rows=64, order="keep", shard_bytes=2048))
    return folder / "out"


@pytest.fixture
def source(packed: Path, tmp_path: Path) -> Source:
    shutil.copytree(packed, tmp_path / "source")
    return open_source(str(tmp_path / "source"))


def path(source: Source, key: str) -> Path:
    return Path(source.uri, key)


def flip(file: Path, byte: int) -> None:
    data = bytearray(file.read_bytes())
    data[byte] ^= 16
    file.write_bytes(data)


@pytest.mark.parametrize("threads", [1, 3, 50])
def test_a_sound_source_is_read_to_the_last_byte(source: Source, threads: int) -> None:
    report = verify(source, threads)
    assert (report.problems, report.shards, report.blocks) == ((), len(source.manifest.shards), 17)
    assert len(source.manifest.shards) > 3
    assert report.bytes == sum(file.stat().st_size for file in Path(source.uri).rglob("shards/*/*"))
    assert report.bytes_per_s == pytest.approx(report.bytes / report.seconds)


def test_every_damaged_block_is_named_once(source: Source) -> None:
    split = source.split("train")
    for block in (2, 9):
        place = split.place(block)
        flip(path(source, place.shard.key), place.offset + 9)
    assert verify(source).problems == tuple(
        f"{split.place(block).text} does not match its checksum" for block in (2, 9)
    )


def test_bytes_outside_the_blocks_count_too(source: Source) -> None:
    shard = source.manifest.shards[1]
    flip(path(source, shard.key), shard.bytes - 20)
    flip(path(source, source.manifest.shards[2].key), 1)
    assert verify(source).problems == tuple(
        f"shard {shard.key} (split 'train') does not match its checksum outside its blocks"
        for shard in source.manifest.shards[1:3]
    )


def test_missing_and_short_shards_are_named_and_the_rest_is_read(source: Source) -> None:
    missing, short, flipped = source.manifest.shards[:3]
    path(source, missing.key).unlink()
    path(source, short.key).write_bytes(path(source, short.key).read_bytes()[:-1])
    flip(path(source, flipped.key), 100)
    problems = verify(source).problems
    assert problems[:2] == (
        f"shard {missing.key} (split 'train') is missing",
        f"shard {short.key} (split 'train') has {short.bytes - 1} bytes instead of {short.bytes}",
    )
    assert len(problems) == 3
    assert flipped.key in problems[2]


def test_manifests_and_blocks_table_are_read_again(source: Source) -> None:
    manifest = source.manifest
    keys = [manifest_key(manifest.digest), LATEST_KEY, manifest.blocks_key]
    for key in keys:
        good = path(source, key).read_bytes()
        flip(path(source, key), 700)
        (problem,) = verify(source).problems
        assert problem.startswith(f"{key}: the")
        assert "damaged" in problem
        path(source, key).unlink()
        assert verify(source).problems == (f"{key} is missing",)
        path(source, key).write_bytes(good)
    assert verify(source).problems == ()


def test_a_newer_version_beside_it_is_no_problem(source: Source, tmp_path: Path) -> None:
    pq.write_table(pa.table({"id": [1, 2], "x": [0.0, 1.0]}), tmp_path / "train.parquet")
    pq.write_table(pa.table({"id": [1, 2], "x": [0.0, 1.0]}), tmp_path / "valid.parquet")
    pack([str(tmp_path)], str(tmp_path / "other"), PackOptions(order="keep"))
    path(source, LATEST_KEY).write_bytes((tmp_path / "other" / LATEST_KEY).read_bytes())
    assert verify(source).problems == ()


def test_a_store_that_does_not_answer_is_an_error(source: Source) -> None:
    shard = path(source, source.manifest.shards[0].key)
    shard.unlink()
    shard.symlink_to(shard)
    with pytest.raises(StoreError):
        verify(source)
