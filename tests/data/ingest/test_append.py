"""Appending: a new version that begins with the rows of the old one, whose files and ids stay as they were."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from distmtl.data.decode import Decoder
from distmtl.data.describe import describe_inputs
from distmtl.data.infer import TypingOptions
from distmtl.data.labels import describe_label
from distmtl.data.loader import Loader, LoaderSource
from distmtl.data.manifest import CategoricalStatistics, LengthStatistics, NumericStatistics
from distmtl.data.mixture import Mixture
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.plan import Layout, Plan
from distmtl.data.source import Source, open_source
from distmtl.data.specs import SourceSpec
from distmtl.data.verify import verify
from distmtl.errors import SourceError
from distmtl.features import FIRST_ID
from tests.data.ingest.inputs import CutInput, files_of, mixed_table

TEXT = TypingOptions(text=("note",))
FIRST, MORE = mixed_table(700), mixed_table(333, seed=5)


def options(**more: Any) -> PackOptions:
    return PackOptions(typing=TEXT, block_rows=64, **more)


def read(source: Source, split: str, columns: list[str]) -> list[tuple[Any, ...]]:
    part = source.split(split)
    tables = [part.read_block(block, columns) for block in range(part.blocks)]
    return [tuple(row.values()) for table in tables for row in table.to_pylist()]


@pytest.fixture
def appended(tmp_path: Path) -> tuple[Source, Source, dict[str, bytes]]:
    """The versions before and after, and the files of the one before."""
    out = tmp_path / "out"
    pack([CutInput(FIRST)], str(out), options())
    before = files_of(out)
    first = open_source(str(out))
    pack([CutInput(MORE, (10, 200))], str(out), options(append=True))
    return first, open_source(str(out)), before


def test_the_old_version_stays(appended: tuple[Source, Source, dict[str, bytes]], tmp_path: Path) -> None:
    first, second, before = appended
    after = files_of(tmp_path / "out")
    assert {name: data for name, data in after.items() if name in before and name != "manifest.json"} == {
        name: data for name, data in before.items() if name != "manifest.json"
    }
    assert second.manifest.packed["appended_to"] == first.manifest.digest
    again = open_source(str(tmp_path / "out"), first.manifest.digest)
    assert again.manifest == first.manifest
    assert not verify(again).problems
    assert not verify(second).problems


def test_all_rows_are_there_and_the_old_ones_come_first(appended: tuple[Source, Source, dict[str, bytes]]) -> None:
    first, second, _ = appended
    names = ["id", "note", "raw", "ragged", "int"]
    names = [name for name in names if name in FIRST.column_names]
    for split in ("train", "valid", "test"):
        old, new = read(first, split, names), read(second, split, names)
        assert new[: len(old)] == old
    rows = [row for split in ("train", "valid", "test") for row in read(second, split, ["note", "raw", "int"])]
    expected = [tuple(row[name] for name in ("note", "raw", "int")) for row in [*FIRST.to_pylist(), *MORE.to_pylist()]]
    assert Counter(rows) == Counter(expected)


def test_words_keep_their_ids_and_new_ones_follow(appended: tuple[Source, Source, dict[str, bytes]]) -> None:
    first, second, _ = appended
    old, new = first.column("word").vocabulary, second.column("word").vocabulary
    assert new[: len(old)] == old
    added = new[len(old) :]
    assert added
    assert list(added) == sorted(added)
    train = read(second, "train", ["word"])
    counts = second.manifest.splits["train"].statistics["word"]
    assert isinstance(counts, CategoricalStatistics)
    ids = Counter(word for (word,) in train)
    assert counts.counts == tuple(ids[FIRST_ID + i] for i in range(len(new)))
    assert counts.nulls + counts.unknown + sum(counts.counts) == len(train)


def test_statistics_are_of_all_rows(appended: tuple[Source, Source, dict[str, bytes]]) -> None:
    _, second, _ = appended
    info = second.manifest.splits["train"]
    for name in ("float", "int", "label"):
        values = [value for (value,) in read(second, "train", [name]) if value is not None and value == value]
        found = info.statistics[name]
        assert isinstance(found, NumericStatistics)
        assert found.nulls == info.rows - len(values)
        assert found.mean == pytest.approx(np.mean(values), rel=1e-9, abs=1e-9)
        assert found.std == pytest.approx(np.std(values), rel=1e-9)
        assert (found.minimum, found.maximum) == (min(values), max(values))
        if found.values is not None and found.counts is not None:
            assert dict(zip(found.values, found.counts, strict=True)) == Counter(values)
            assert found.quantiles[128] == sorted(values)[round(128 * (len(values) - 1) / 256)]
    lengths = info.statistics["ragged"]
    assert isinstance(lengths, LengthStatistics)
    rows = [value for (value,) in read(second, "train", ["ragged"])]
    filled = [len(value) // 4 for value in rows if value is not None]
    assert lengths == LengthStatistics(rows.count(None), sum(filled) / len(filled), max(filled), sum(filled))


def test_a_loader_covers_each_row_once(appended: tuple[Source, Source, dict[str, bytes]]) -> None:
    _, source, _ = appended
    train = source.split("train")
    assert len(train.short_blocks) >= 2  # one per version
    spec = SourceSpec(uri=source.uri, inputs={"dense": ["float"], "image": "tensor"})
    groups = describe_inputs({"s": source}, {"s": spec})["s"]
    decoder = Decoder(train, groups, {"int": describe_label(train, "int", "regression")}, None, torch.float64)
    plan = Plan((Layout.of("s", train),), lanes=3, window_blocks=2, seed=1)
    found: Counter[float] = Counter()
    with Loader([LoaderSource("s", train, decoder)], plan, Mixture.constant({"s": 1}, 31), horizon=1000) as loader:
        while found.total() < train.rows:
            for batch in next(loader).sources:
                found.update(batch.targets["int"].nan_to_num(-1.0).tolist())
    expected = Counter(-1.0 if value is None else float(value) for (value,) in read(source, "train", ["int"]))
    assert not expected - found  # the last step begins the next pass
    assert found.total() - train.rows < 31


def test_nulls_may_come_later(tmp_path: Path) -> None:
    """The first version's columns need no null bits; a later one's do."""
    out = str(tmp_path / "out")
    pack({"train": [CutInput(pa.table({"x": [1, 2, 3], "y": [0.5, 1.5, 2.5]}))]}, out, PackOptions(order="keep"))
    more = pa.table({"y": [None, 3.5], "x": [4, None]})
    pack({"train": [CutInput(more)]}, out, PackOptions(order="keep", append=True))
    pack({"valid": [CutInput(pa.table({"x": [7], "y": [8.5]}))]}, out, PackOptions(append=True))
    source = open_source(out)
    assert read(source, "train", ["x", "y"]) == [(1, 0.5), (2, 1.5), (3, 2.5), (4, None), (None, 3.5)]
    assert read(source, "valid", ["y", "x"]) == [(8.5, 7)]
    assert not verify(source).problems


def test_types_follow_the_source(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    first = pa.table({"code": ["x", "1"], "size": ["1.5", "2.5"], "wide": ["9000000000", "1"]})
    pack({"train": [CutInput(first, text=True)]}, out, PackOptions(order="keep"))
    more = pa.table({"code": ["7", "1"], "size": ["4", ""], "wide": ["5", "6"]})
    pack({"train": [CutInput(more, text=True)]}, out, PackOptions(order="keep", append=True))
    source = open_source(out)
    assert source.column("code").vocabulary == ("1", "x", "7")
    assert read(source, "train", ["size", "wide"]) == [(1.5, 9_000_000_000), (2.5, 1), (4.0, 5), (None, 6)]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"x": [1]}, "the source has the column 'y', but the files have not"),
        ({"x": [1], "y": ["a"], "z": [1]}, "the files have the column 'z', but the source has not. Use --drop z"),
        ({"x": [0.5], "y": ["a"]}, "column 'x' holds float32 numbers, which int32 in the source cannot hold"),
        ({"x": ["a"], "y": ["a"]}, "column 'x' is numeric in the source and categorical in the files"),
    ],
)
def test_rows_that_do_not_fit(tmp_path: Path, more: dict[str, list[Any]], message: str) -> None:
    out = tmp_path / "out"
    pack({"train": [CutInput(pa.table({"x": [1, 2], "y": ["a", "b"]}))]}, str(out))
    before = files_of(out)
    with pytest.raises(SourceError) as caught:
        pack({"train": [CutInput(pa.table(more))]}, str(out), PackOptions(append=True))
    assert message in str(caught.value)
    assert files_of(out) == before


def test_there_must_be_a_source(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no source to append to"):
        pack([CutInput(FIRST)], str(tmp_path / "out"), options(append=True))
    with pytest.raises(SourceError, match="both replaced and appended"):
        PackOptions(append=True, overwrite=True)


def test_a_failed_append_leaves_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distmtl.data.publish import Publication

    out = tmp_path / "out"
    pack([CutInput(FIRST)], str(out), options())
    before = files_of(out)
    monkeypatch.setattr(Publication, "write_blocks", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pack([CutInput(MORE)], str(out), options(append=True))
    assert files_of(out) == before


def test_groups_stay_in_their_splits_over_versions(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    out = str(tmp_path / "out")
    for append in (False, True):
        table = pa.table({"user": random.integers(0, 200, 3000), "x": random.random(3000)})
        pack([CutInput(table)], out, PackOptions(group_by="user", append=append))
    source = open_source(out)
    users = {name: {user for (user,) in read(source, name, ["user"])} for name in source.manifest.splits}
    assert sum(map(len, users.values())) == len(set.union(*users.values())) == 200


def test_appending_twice_at_once_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from distmtl.data.publish import Publication

    out = str(tmp_path / "out")
    pack([CutInput(FIRST)], out, options())
    original = Publication.write_blocks

    def meanwhile(self: Publication, *arguments: Any) -> str:
        monkeypatch.setattr(Publication, "write_blocks", original)
        pack([CutInput(MORE.slice(0, 100))], out, options(append=True))
        return original(self, *arguments)

    monkeypatch.setattr(Publication, "write_blocks", meanwhile)
    with pytest.raises(SourceError, match="another process has changed the source"):
        pack([CutInput(MORE)], out, options(append=True))
    source = open_source(out)
    assert source.manifest.rows == 800
    assert not verify(source).problems
