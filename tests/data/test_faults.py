"""No damaged bit of a source is trained on: 200 flipped bits and 50 truncations, drawn from a seed.

Each is found by ``verify``, and by opening the source or reading all its rows; but bytes of a shard that no block
holds (its Parquet header and footer) are never read for training, so there the rows must be the same to the last bit.
"""

import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distmtl.data.batch import SourceBatch
from distmtl.data.blocks import LoaderSource
from distmtl.data.decode import Decoder
from distmtl.data.describe import describe_inputs
from distmtl.data.labels import describe_label
from distmtl.data.loader import Loader
from distmtl.data.manifest import LATEST_KEY, manifest_key
from distmtl.data.mixture import Mixture
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.plan import Layout, Plan
from distmtl.data.quarantine import Quarantine, QuarantinedSplit
from distmtl.data.source import Source, open_source
from distmtl.data.specs import SourceSpec
from distmtl.data.sweep import sweep
from distmtl.data.verify import verify
from distmtl.errors import CorruptBlockError, SourceError

ROWS, BATCH = 1500, 100


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults")
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "x": pa.array(rng.normal(size=ROWS), mask=rng.random(ROWS) < 0.1),
            "word": rng.choice(["a", "b", "c"], ROWS),
            "image": pa.array([row.tobytes() for row in rng.integers(0, 255, (ROWS, 16), np.uint8)], pa.binary(16)),
            "y": np.arange(ROWS),
        }
    )
    pq.write_table(table, folder / "train.parquet")
    pq.write_table(table.slice(0, 300), folder / "valid.parquet")
    pack([str(folder)], str(folder / "out"), PackOptions(block_rows=64, shard_bytes=8192))
    return folder / "out"


@pytest.fixture(scope="module")
def copy(packed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(packed, tmp_path_factory.mktemp("damaged") / "source"))


@pytest.fixture(autouse=True, params=["windows", "whole"])
def _quickly(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without pauses; once as large sources are read and once as small ones are."""
    monkeypatch.setattr("distmtl.data.fetch.PAUSE_S", 0.0)
    if request.param == "windows":
        monkeypatch.setattr("distmtl.data.feed.is_kept_whole", lambda *_: False)


def read_all(source: Source) -> Iterator[SourceBatch]:
    """What a run reads: a pass over train through the loader, and valid as evaluation does."""
    spec = SourceSpec(uri=source.uri, inputs={"dense": ["x"], "words": ["word"], "image": "image"})
    train, valid = source.split("train"), source.split("valid")
    groups = describe_inputs({"s": source}, {"s": spec})["s"]
    decoder = Decoder(train, groups, {"y": describe_label(train, "y", "regression")}, None, torch.float32)
    plan = Plan((Layout.of("s", train),), 4, 2, 0)
    split = QuarantinedSplit("s", train, Quarantine(0))
    steps = ROWS // BATCH
    with Loader([LoaderSource("s", split, decoder)], plan, Mixture.constant({"s": 1}, BATCH), horizon=steps) as loader:
        for batch in loader:
            yield from batch.sources
    yield from sweep(LoaderSource("s", valid, decoder), 0, 1, BATCH)


def bits(batches: Iterator[SourceBatch]) -> list[bytes]:
    """Every tensor of every batch."""
    return [
        tensor.numpy().tobytes()
        for batch in batches
        for tensor in (*batch.inputs.values(), *batch.targets.values(), batch.positions)
    ]


def files(folder: Path) -> dict[str, list[Path]]:
    """What a source is made of, by kind."""
    return {
        "shard": sorted(folder.rglob("*.parquet")),
        "blocks": sorted(folder.glob("blocks-*.arrow")),
        "manifest": sorted(folder.glob("manifest*.json")),
    }


def flip(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def cut(data: bytes, draw: random.Random) -> bytes:
    return data[: draw.randrange(len(data))]


def is_read(source: Source, file: Path, good: bytes, bad: bytes) -> bool:
    """Whether a byte that was changed or lost is one of a block's."""
    first = next((at for at, (one, other) in enumerate(zip(good, bad, strict=False)) if one != other), len(bad))
    last = len(good) if len(bad) < len(good) else first + 1
    places = [
        source.split(name).place(block) for name, info in source.manifest.splits.items() for block in range(info.blocks)
    ]
    return any(
        source.uri + "/" + place.shard.key == str(file) and place.offset < last and first < place.offset + place.length
        for place in places
    )


@pytest.mark.parametrize(("damage", "count", "seed"), [(flip, 100, 1), (cut, 25, 2)])
def test_every_fault_is_found_and_named(
    copy: Path, damage: object, count: int, seed: int, request: pytest.FixtureRequest
) -> None:
    sound = open_source(str(copy))
    expected = bits(read_all(sound))
    assert verify(sound).problems == ()
    draw = random.Random(f"{seed} {request.node.name}")
    kinds = files(copy)
    found = dict.fromkeys(("opening", "reading", "never read"), 0)
    for number in range(count):
        file = draw.choice(kinds[("shard", "shard", "shard", "blocks", "manifest")[number % 5]])
        good = file.read_bytes()
        bad = damage(good, draw)  # type: ignore[operator]
        file.write_bytes(bad)
        try:
            found[_find(copy, file, sound, good, bad, expected)] += 1
            assert any(file.name in problem for problem in verify(sound).problems)
        finally:
            file.write_bytes(good)
    assert found["opening"] == 2 * count // 5
    assert found["reading"] > count // 3
    assert bits(read_all(open_source(str(copy)))) == expected


def _find(copy: Path, file: Path, sound: Source, good: bytes, bad: bytes, expected: list[bytes]) -> str:
    """How a run finds out: on opening (as a new run and as a resumed one) or on reading; or that it need not."""
    digest = sound.manifest.digest
    if file.suffix != ".parquet":
        pinned = (
            [None] if file.name == LATEST_KEY else [digest] if file.name == manifest_key(digest) else [None, digest]
        )
        for version in pinned:
            with pytest.raises(SourceError, match="damaged") as caught:
                open_source(str(copy), version)
            assert str(file) in str(caught.value)
        return "opening"
    source = open_source(str(copy))
    if not is_read(sound, file, good, bad):
        assert bits(read_all(source)) == expected
        return "never read"
    with pytest.raises(CorruptBlockError) as error:
        bits(read_all(source))
    text = str(error.value)
    shard = next(shard for shard in sound.manifest.shards if file.name in shard.key)
    named = next(
        place
        for block in range(sound.manifest.splits[shard.split].blocks)
        if (place := sound.split(shard.split).place(block)).text in text
    )
    assert named.shard == shard
    assert str(copy) in text
    assert shard.split == "valid" or "source 's'" in text
    return "reading"
