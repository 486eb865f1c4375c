"""Packed sources with text, bytes and ragged columns: what their input groups are, and what their rows become."""

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import xxhash
from PIL import Image

from distmtl.data.blocks import LoaderSource
from distmtl.data.describe import describe_inputs
from distmtl.data.infer import TypingOptions
from distmtl.data.labels import describe_label
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import open_source
from distmtl.data.specs import BatchSpec, SourceSpec
from distmtl.data.standalone import open_loader
from distmtl.data.sweep import sweep
from distmtl.data.transformed import open_rows
from distmtl.errors import ConfigError, SourceError
from distmtl.features import (
    CategoricalColumn,
    InputGroup,
    NumericColumn,
    SequenceColumn,
    TensorColumn,
    input_group_from_json,
    input_group_to_json,
)

NAN = float("nan")


def png(value):
    file = io.BytesIO()
    Image.new("L", (4, 4), value).save(file, "PNG")
    return file.getvalue()


def table(rows, start=0):
    numbers = range(start, start + rows)
    return pa.table(
        {
            "text": pa.array([None if i == 3 else f"row {i} of {rows}" for i in numbers]),
            "ids": pa.array([None if i == 4 else list(range(i % 6)) for i in numbers], pa.list_(pa.int32())),
            "wave": pa.array([[i + 0.5] * (i % 3) for i in numbers], pa.list_(pa.float32())),
            "photo": pa.array([png(i) for i in numbers], pa.binary()),
            "x": pa.array([None if i == 5 else float(i) for i in numbers]),
            "city": pa.array([["Bonn", "Ulm", None][i % 3] for i in numbers]),
            "weight": pa.array([1.0 + i for i in numbers]),
            "y": pa.array([i % 2 for i in numbers]),
        }
    )


def make(folder, name, train, valid=None):
    files = {"train": train} | ({} if valid is None else {"valid": valid})
    for split, rows in files.items():
        pq.write_table(rows, folder / f"{name}-{split}.parquet")
    paths = {split: [str(folder / f"{name}-{split}.parquet")] for split in files}
    pack(paths, str(folder / name), PackOptions(order="keep", block_rows=8, typing=TypingOptions(text=("text",))))
    return open_source(str(folder / name))


@pytest.fixture
def source(tmp_path):
    return make(tmp_path, "s", table(20), table(10, start=50))


def spec(transforms=(), weight=None, **inputs):
    return SourceSpec.model_validate({"uri": "x", "inputs": inputs, "transforms": transforms, "weight": weight})


WORDS = {"kind": "hash_words", "columns": ["text"], "buckets": 50, "max_length": 7}


def described(source, given):
    return {group.name: group for group in describe_inputs({"s": source}, {"s": given})["s"]}


def batches(source, split, given, floats=torch.float32, rows=100):
    groups = describe_inputs({"s": source}, {"s": given})["s"]
    labels = {"y": describe_label(source.split("train"), "y", "binary")}
    part = source.split(split)
    return list(sweep(LoaderSource("s", part, *open_rows("s", part, given, groups, labels, floats)), 0, 1, rows))


def test_groups_of_transformed_columns(source):
    transforms = [WORDS, {"kind": "image", "column": "photo", "size": 4, "mode": "grey", "into": "image"}]
    transforms += [{"kind": "standardise", "columns": ["x"]}, {"kind": "vocabulary", "column": "text", "like": "city"}]
    inputs = {"tokens": "tokens", "image": "image", "dense": "x", "cat": ["city", "text"], "ids": "ids", "wave": "wave"}
    found = described(source, spec(transforms, **inputs))
    assert found["tokens"] == InputGroup("tokens", "sequence", (SequenceColumn("tokens", "int64", 0, 7, 52),))
    assert found["ids"] == InputGroup("ids", "sequence", (SequenceColumn("ids", "int64", 0, 5),))
    assert found["wave"] == InputGroup("wave", "sequence", (SequenceColumn("wave", "float32", 0, 2),))
    assert found["image"] == InputGroup("image", "tensor", (TensorColumn("image", "uint8", (1, 4, 4)),))
    assert found["cat"].columns == (
        CategoricalColumn("city", ("Bonn", "Ulm"), (7, 7)),
        CategoricalColumn("text", ("Bonn", "Ulm"), (0, 0)),
    )
    (x,) = found["dense"].columns
    assert isinstance(x, NumericColumn)
    assert (x.mean, x.std, x.null_share) == (pytest.approx(0), pytest.approx(1), 0.05)
    for group in found.values():
        assert input_group_from_json(json.loads(json.dumps(input_group_to_json(group)))) == group


@pytest.mark.parametrize("floats", [torch.float32, torch.float64])
def test_rows_of_every_kind(source, floats):
    transforms = [WORDS, {"kind": "image", "column": "photo", "size": 4, "mode": "grey"}]
    inputs = {
        "tokens": "tokens",
        "image": "photo",
        "dense": ["x", "weight"],
        "cat": "city",
        "ids": "ids",
        "wave": "wave",
    }
    (batch,) = batches(source, "train", spec(transforms, "weight", **inputs), floats)
    words = [[] if i == 3 else ["row", str(i), "of", "20"] for i in range(20)]
    hashed = [[2 + xxhash.xxh3_64_intdigest(word.encode()) % 50 for word in row] for row in words]
    assert batch.inputs["tokens"].tolist() == [row + [0] * (4 - len(row)) for row in hashed]
    ids = [[] if i == 4 else list(range(i % 6)) for i in range(20)]
    assert batch.inputs["ids"].tolist() == [row + [0] * (5 - len(row)) for row in ids]
    assert batch.inputs["ids"].dtype == torch.int64
    assert batch.inputs["wave"].tolist() == [[i + 0.5] * (i % 3) + [0] * (2 - i % 3) for i in range(20)]
    assert batch.inputs["wave"].dtype == batch.inputs["dense"].dtype == floats
    x = [[NAN if i == 5 else i, 1.0 + i] for i in range(20)]
    torch.testing.assert_close(batch.inputs["dense"], torch.tensor(x, dtype=floats), equal_nan=True)
    assert batch.inputs["cat"].tolist() == [[[2], [3], [0]][i % 3] for i in range(20)]
    assert batch.inputs["image"][:, 0, 3, 3].tolist() == list(range(20))
    assert batch.targets["y"].tolist() == [i % 2 for i in range(20)]
    assert batch.weights.tolist() == [1.0 + i for i in range(20)]


def test_a_source_gives_the_same_with_an_idle_transform(source):
    inputs = {"dense": ["x", "weight"], "cat": "city"}
    (plain,) = batches(source, "valid", spec(**inputs))
    (idle,) = batches(source, "valid", spec([WORDS], **inputs))
    for name, values in plain.inputs.items():
        assert idle.inputs[name].dtype == values.dtype
        assert torch.equal(idle.inputs[name].nan_to_num(-1), values.nan_to_num(-1))


def test_ragged_columns_are_inputs_as_they_are(source):
    (first, second) = batches(source, "valid", spec(ids="ids"), rows=5)
    assert first.inputs["ids"].tolist() == [list(range(i % 6)) + [0] * (5 - i % 6) for i in range(50, 55)]
    assert second.inputs["ids"].shape == (5, 5)


def test_a_loader_without_a_run_file(source):
    given = spec([WORDS, {"kind": "random_crop", "column": "photo", "size": 2}], tokens="tokens", image="photo")
    given = spec(
        [WORDS, {"kind": "image", "column": "photo", "size": 4}, *given.transforms[1:]], tokens="tokens", image="photo"
    )
    given = given.model_copy(update={"uri": source.uri})
    for workers in (0, 2):
        batch = BatchSpec(rows=10, transform_workers=workers)
        with open_loader({"s": given}, {"s": {"y": "binary"}}, batch) as loader:
            found = [next(loader).sources[0] for _ in range(4)]
        assert [part.inputs["image"].shape for part in found] == [(10, 3, 2, 2)] * 4
        assert all(part.inputs["tokens"].shape == (10, 4) for part in found)


def test_sources_share_a_sequence(tmp_path):
    a, b = make(tmp_path, "a", table(20)), make(tmp_path, "b", table(3))
    sources = {"a": a, "b": b}
    both = describe_inputs(sources, {"a": spec(ids="ids"), "b": spec(ids="ids")})
    assert both["a"] == both["b"] == (InputGroup("ids", "sequence", (SequenceColumn("ids", "int64", 0, 5),)),)
    pad = {"kind": "sequence", "column": "ids", "pad": -1, "size": 6}
    with pytest.raises(
        ConfigError, match="is a int64 sequence of 6 ids padded with -1 in source 'a' and a int64 sequence"
    ):
        describe_inputs(sources, {"a": spec([pad], ids="ids"), "b": spec(ids="ids")})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (spec(words="text"), r"sources\.s\.inputs\.words: 'text' is text, which no trunk reads.* such as tokenise"),
        (spec(photo="photo"), r"'photo' is bytes, which no trunk reads as it is\. .* such as image"),
        (spec(ids=["ids", "wave"]), r"inputs\.ids: the group has 2 sequence columns\. Give each sequence its own"),
        (spec(ids=["ids", "x"]), "'ids' is sequence and 'x' is numeric"),
        (spec([WORDS], tokens="token"), r"there is no column 'token'\. Did you mean 'tokens'\?"),
        (spec([WORDS], tokens="tokens", words="text"), "'text' is text"),
        (
            spec([{"kind": "image", "column": "text", "size": 4}], x="x"),
            r"sources\.s\.transforms\.0: column 'text' is text",
        ),
    ],
)
def test_what_cannot_be_an_input(source, given, said):
    with pytest.raises((ConfigError, SourceError), match=said):
        describe_inputs({"s": source}, {"s": given})


def test_text_is_no_target(source):
    for column in ("text", "ids", "photo"):
        with pytest.raises(SourceError, match=rf"target '{column}' is"):
            describe_label(source.split("train"), column, "multiclass")


def test_a_bad_cell_of_a_packed_source_is_named(tmp_path):
    rows = table(20)
    photos = [*rows["photo"].to_pylist()[:13], b"no image", *rows["photo"].to_pylist()[14:]]
    broken = make(tmp_path, "s", rows.set_column(3, "photo", pa.array(photos, pa.binary())))
    given = spec([{"kind": "image", "column": "photo", "size": 4}], image="photo")
    with pytest.raises(SourceError) as caught:
        batches(broken, "train", given)
    assert caught.value.where == f"{broken.uri}: split 'train', block 1, row 5"
    assert caught.value.what.startswith("transform 0 ('image') of source 's' failed: UnidentifiedImageError: cannot")
    missing = make(
        tmp_path, "m", rows.set_column(3, "photo", pa.array([None, *photos[1:13]] + [None] * 7, pa.binary()))
    )
    with pytest.raises(SourceError, match=r"block 0, row 0: .*ValueError: the row has no image"):
        batches(missing, "train", given)
    assert batches(missing, "train", spec(x="x"))[0].rows == 20  # nobody looks at it here
