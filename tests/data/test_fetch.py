"""What a failed read of a block is: the store's fault, the source's, or the block's; and that the cache hides none."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from distmtl.data.manifest import manifest_key
from distmtl.data.node_cache import NodeCache
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.errors import CorruptBlockError, SourceError, StoreError

BLOCKS = 8


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.data.fetch.PAUSE_S", 0.0)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fetch")
    rows = 64 * BLOCKS
    table = pa.table({"id": np.arange(rows), "x": np.random.default_rng(0).random(rows)})
    pq.write_table(table, folder / "train.parquet")
    pq.write_table(table.slice(0, 10), folder / "valid.parquet")
    pack([str(folder)], str(folder / "out"), PackOptions(block_rows=64, order="keep", shard_bytes=2048))
    return folder / "out"


@pytest.fixture
def copy(packed: Path, tmp_path: Path) -> Path:
    shutil.copytree(packed, tmp_path / "source")
    return tmp_path / "source"


def first(source: Source, block: int) -> int:
    return int(source.split("train").read_block(block, ["id"])["id"][0].as_py())


def shard(source: Source, block: int) -> Path:
    return Path(source.store.uri.removeprefix("local://")) / source.split("train").shard(block).key


def assert_names_the_place(error: Exception, source: Source, block: int) -> None:
    place = source.split("train").place(block)
    for word in (f"block {block} of split 'train'", place.shard.key, f"bytes {place.offset} to", source.store.uri):
        assert word in str(error)


def test_a_missing_shard_is_named_and_the_others_can_be_read(copy: Path) -> None:
    source = open_source(str(copy))
    gone = shard(source, 3)
    gone.unlink()
    with pytest.raises(CorruptBlockError, match="the shard is missing") as caught:
        first(source, 3)
    assert_names_the_place(caught.value, source, 3)
    others = [block for block in range(BLOCKS) if shard(source, block) != gone]
    assert others
    assert [first(source, block) for block in others] == [64 * block for block in others]


def test_a_shard_cut_short_is_named_where_the_block_is_lost(copy: Path) -> None:
    source = open_source(str(copy))
    path = shard(source, 0)
    inside = [block for block in range(BLOCKS) if shard(source, block) == path]
    place = source.split("train").place(inside[-1])
    path.write_bytes(path.read_bytes()[: place.offset + 10])
    with pytest.raises(CorruptBlockError, match=f"the shard has {place.offset + 10} bytes instead of") as caught:
        first(source, inside[-1])
    assert_names_the_place(caught.value, source, inside[-1])
    assert [first(source, block) for block in inside[:-1]] == [64 * block for block in inside[:-1]]


def test_a_shard_in_the_place_of_another_is_found_out(copy: Path) -> None:
    source = open_source(str(copy))
    one, other = shard(source, 0), shard(source, BLOCKS - 1)
    assert one != other
    one.write_bytes(other.read_bytes().ljust(one.stat().st_size, b"\0"))
    with pytest.raises(CorruptBlockError, match="does not match its checksum") as caught:
        first(source, 0)
    assert_names_the_place(caught.value, source, 0)


def test_a_source_that_is_gone_is_no_corrupt_block(copy: Path) -> None:
    source = open_source(str(copy))
    shutil.rmtree(copy)
    with pytest.raises(SourceError, match="the source is gone") as caught:
        first(source, 0)
    assert not isinstance(caught.value, CorruptBlockError)
    assert source.store.uri in str(caught.value)


def test_a_store_that_does_not_answer_is_no_corrupt_block(copy: Path) -> None:
    source = open_source(str(copy))
    path = shard(source, 0)
    path.unlink()
    path.symlink_to(path)  # reading it is neither refused nor answered with "there is none"
    with pytest.raises(StoreError, match="cannot be read"):
        first(source, 0)


def test_a_remote_source_is_read_through_the_cache_and_a_local_one_is_not(copy: Path, tmp_path: Path) -> None:
    cache = NodeCache(tmp_path / "cache")
    local, remote = (open_source(uri, cache=cache) for uri in (str(copy), f"local://{copy}"))
    assert [first(local, block) for block in range(BLOCKS)] == [64 * block for block in range(BLOCKS)]
    assert not (tmp_path / "cache").exists()
    assert [first(remote, block) for block in range(BLOCKS)] == [64 * block for block in range(BLOCKS)]
    shutil.rmtree(copy / "shards")
    with pytest.raises(CorruptBlockError):
        first(local, 0)
    again = open_source(f"local://{copy}", cache=NodeCache(tmp_path / "cache"))
    assert [first(again, block) for block in range(BLOCKS)] == [64 * block for block in range(BLOCKS)]


def test_a_damaged_block_in_the_cache_is_fetched_anew_past_it(copy: Path, tmp_path: Path) -> None:
    remote = open_source(f"local://{copy}", cache=NodeCache(tmp_path / "cache"))
    assert first(remote, 2) == 128
    (kept,) = (tmp_path / "cache").glob("*/*.block")
    good = kept.read_bytes()
    kept.write_bytes(good[:40] + bytes([good[40] ^ 1]) + good[41:])
    assert first(remote, 2) == 128
    assert kept.read_bytes() == good


def test_damage_in_the_store_is_never_kept_and_found_on_every_read(copy: Path, tmp_path: Path) -> None:
    remote = open_source(f"local://{copy}", cache=NodeCache(tmp_path / "cache"))
    place = remote.split("train").place(2)
    path = shard(remote, 2)
    data = bytearray(path.read_bytes())
    data[place.offset + 5] ^= 1
    path.write_bytes(data)
    for _ in range(2):
        with pytest.raises(CorruptBlockError) as caught:
            first(remote, 2)
        assert_names_the_place(caught.value, remote, 2)
    assert list((tmp_path / "cache").glob("*/*.block")) == []
    data[place.offset + 5] ^= 1
    path.write_bytes(data)
    assert first(remote, 2) == 128


def test_the_digest_names_the_manifest_that_is_looked_for(copy: Path) -> None:
    source = open_source(str(copy))
    shutil.rmtree(copy / "shards")
    (copy / "manifest.json").unlink()  # the version's own manifest is what counts
    assert (copy / manifest_key(source.manifest.digest)).exists()
    with pytest.raises(CorruptBlockError, match="the shard is missing"):
        first(source, 0)
