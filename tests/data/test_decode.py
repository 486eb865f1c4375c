"""Blocks as tensors: NaN for null, the run's ids for the source's, labels as tasks read them."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from distmtl.data.decode import Decoded, Decoder
from distmtl.data.describe import describe_inputs, describe_label
from distmtl.data.labels import LabelKind
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from distmtl.data.source import Source, open_source
from distmtl.data.specs import SourceSpec

NAN = float("nan")
IMAGES = np.arange(18, dtype=np.float32).reshape(3, 2, 3)
COLUMNS = {
    "x": pa.array([1.5, None, -2.0]),
    "n": pa.array([2**40, 7, None], pa.int64()),
    "w": pa.array(["b", None, "c"]),
    "v": pa.array(["p", "q", "p"]),
    "image": pa.FixedShapeTensorArray.from_numpy_ndarray(IMAGES),
    "bit": pa.array([1, None, 0], pa.int8()),
    "class": pa.array([2, 0, 1]),
    "name": pa.array(["k", None, "j"]),
    "weight": pa.array([0.5, None, 2.0]),
}
KINDS: dict[str, LabelKind] = {"bit": "binary", "class": "multiclass", "name": "multiclass", "x": "regression"}


def make(folder: Path, name: str, train: dict[str, pa.Array], valid: dict[str, pa.Array]) -> Source:
    for split, columns in (("train", train), ("valid", valid)):
        pq.write_table(pa.table(columns), folder / f"{name}-{split}.parquet")
    files = {split: [str(folder / f"{name}-{split}.parquet")] for split in ("train", "valid")}
    pack(files, str(folder / name), PackOptions(order="keep"))
    return open_source(str(folder / name))


def decode(source: Source, split: str, floats: torch.dtype = torch.float32, weight: str | None = "weight") -> Decoded:
    inputs: dict[str, str | list[str]] = {"numbers": ["x", "n"], "words": ["w", "v"], "image": "image"}
    spec = SourceSpec(uri="x", inputs=inputs, weight=weight)
    groups = describe_inputs({"s": source}, {"s": spec})["s"]
    labels = {name: describe_label(source.split("train"), name, kind) for name, kind in KINDS.items()}
    part = source.split(split)
    decoder = Decoder(part, groups, labels, weight, floats)
    assert len(decoder.columns) == len(set(decoder.columns))
    return decoder.decode(part.read_block(0, decoder.columns))


@pytest.fixture
def source(tmp_path: Path) -> Source:
    changed = COLUMNS | {
        "w": pa.array(["z", "c", None]),
        "bit": pa.array([2, 1, 0], pa.int8()),
        "class": pa.array([3, -1, 2]),
        "name": pa.array(["i", "j", None]),
    }
    return make(tmp_path, "s", COLUMNS, changed)


@pytest.mark.parametrize("floats", [torch.float32, torch.float64])
def test_train_rows(source: Source, floats: torch.dtype) -> None:
    found = decode(source, "train", floats)
    assert found.rows == 3
    numbers = torch.tensor([[1.5, 2.0**40], [NAN, 7.0], [-2.0, NAN]], dtype=floats)
    torch.testing.assert_close(found.inputs["numbers"], numbers, equal_nan=True, rtol=0, atol=0)
    assert found.inputs["words"].tolist() == [[2, 2], [0, 3], [3, 2]]
    assert found.inputs["words"].dtype == torch.int64
    torch.testing.assert_close(found.inputs["image"], torch.from_numpy(IMAGES))
    assert found.weights is not None
    assert found.weights.tolist() == [0.5, 0.0, 2.0]
    torch.testing.assert_close(found.targets["bit"], torch.tensor([1, NAN, 0], dtype=floats), equal_nan=True)
    torch.testing.assert_close(found.targets["class"], torch.tensor([2.0, 0.0, 1.0], dtype=floats))
    torch.testing.assert_close(found.targets["x"], torch.tensor([1.5, NAN, -2.0], dtype=floats), equal_nan=True)
    assert found.targets["name"].tolist() == [1, -1, 0]
    assert all(tensor.is_contiguous() for tensor in (*found.inputs.values(), *found.targets.values()))


def test_what_train_does_not_know(source: Source) -> None:
    found = decode(source, "valid", weight=None)
    assert found.weights is None
    assert found.inputs["words"][:, 0].tolist() == [1, 3, 0]
    torch.testing.assert_close(found.targets["bit"], torch.tensor([NAN, 1.0, 0.0]), equal_nan=True)
    torch.testing.assert_close(found.targets["class"], torch.tensor([NAN, NAN, 2.0]), equal_nan=True)
    assert found.targets["name"].tolist() == [-1, 0, -1]


def test_ids_are_those_of_the_run(tmp_path: Path) -> None:
    a = make(tmp_path, "a", {"w": pa.array(["b", "d"])}, {"w": pa.array(["b"])})
    b = make(tmp_path, "b", {"w": pa.array(["a", "c", "d", None])}, {"w": pa.array(["c"])})
    spec = SourceSpec(uri="x", inputs={"words": "w"})
    groups = describe_inputs({"a": a, "b": b}, {"a": spec, "b": spec})
    for data, name, expected in ((a, "a", [3, 5]), (b, "b", [2, 4, 5, 0])):
        split = data.split("train")
        decoder = Decoder(split, groups[name], {}, None, torch.float32)
        assert decoder.decode(split.read_block(0, decoder.columns)).inputs["words"][:, 0].tolist() == expected


def test_decoded_tensors_own_their_memory(source: Source) -> None:
    """Image tensors look into an Arrow buffer, which has to stay for as long as they do."""
    found = [decode(source, "train").inputs["image"] for _ in range(20)]
    junk = [np.full(1000, i) for i in range(100)]
    assert junk
    for image in found:
        torch.testing.assert_close(image, torch.from_numpy(IMAGES))
        image.add_(1)  # writable, and nobody else's


def test_a_slice_of_a_block_decodes_to_the_slice(source: Source) -> None:
    spec = SourceSpec(uri="x", inputs={"numbers": ["x", "n"], "words": "w", "image": "image"})
    groups = describe_inputs({"s": source}, {"s": spec})["s"]
    split = source.split("train")
    decoder = Decoder(split, groups, {}, None, torch.float32)
    table = split.read_block(0, decoder.columns)
    whole, part = decoder.decode(table), decoder.decode(table.slice(1, 2))
    for name, tensor in whole.inputs.items():
        torch.testing.assert_close(part.inputs[name], tensor[1:], equal_nan=True)


def test_numbers_past_float32_are_infinite_there_without_a_warning(tmp_path: Path) -> None:
    data = make(tmp_path, "s", {"x": pa.array([1e300, 1.0])}, {"x": pa.array([1.0])})
    groups = describe_inputs({"s": data}, {"s": SourceSpec(uri="x", inputs={"numbers": "x"})})["s"]
    split = data.split("train")
    decoder = Decoder(split, groups, {}, None, torch.float32)
    assert decoder.decode(split.read_block(0, ["x"])).inputs["numbers"].tolist() == [[float("inf")], [1.0]]
