"""A source in memory whose rows need transforms: texts, images and rows of numbers that all say the row's number."""

import numpy as np
import pyarrow as pa
import torch

from distmtl.data.blocks import LoaderSource
from distmtl.data.decode import Decoded
from distmtl.data.transformed import SourceTransform
from distmtl.data.transforms.base import ColumnInfo
from distmtl.data.transforms.rows import Recipe
from distmtl.data.transforms.specs import HashWordsSpec, RandomCropSpec, RandomFlipSpec
from distmtl.features import InputGroup, SequenceColumn, TensorColumn
from distmtl.spec import CustomSpec
from tests.data.memory import MemorySplit

COLUMNS = {
    "image": ColumnInfo("tensor", "int32", (1, 4, 5)),
    "text": ColumnInfo("text"),
    "list": ColumnInfo("ragged", "int32"),
}
GROUPS = (
    InputGroup("image", "tensor", (TensorColumn("image", "int32", (1, 3, 3)),)),
    InputGroup("list", "sequence", (SequenceColumn("list", "int64"),)),
    InputGroup("tokens", "sequence", (SequenceColumn("tokens", "int64", 0, 6, 1002),)),
)
CROP = RandomCropSpec(column="image", size=3)
TRANSFORMS = (HashWordsSpec(columns=("text",), buckets=1000, max_length=6), CROP, RandomFlipSpec(column="image"))


def images(rows: np.ndarray) -> np.ndarray:
    return (rows[:, None] * 20 + np.arange(20)).reshape(-1, 1, 4, 5).astype(np.int32)


def texts(rows: np.ndarray) -> pa.Array:
    return pa.array(
        [" ".join(["row", *str(row)] * (row % 3)) if row % 7 else None for row in rows.tolist()], pa.string()
    )


def numbers(rows: np.ndarray) -> pa.Array:
    return pa.array([np.arange(row % 5, dtype="<i4").tobytes() for row in rows.tolist()], pa.binary())


class RawDecoder:
    columns = ("row",)

    def decode(self, table):
        row = table["row"].to_numpy().copy()
        raw = {"image": torch.from_numpy(images(row)), "text": texts(row), "list": numbers(row)}
        return Decoded({}, {"y": torch.from_numpy(row)}, None, raw)


def transformed_source(name, rows, block_rows, transforms=TRANSFORMS, groups=GROUPS, short_blocks=()):
    split = MemorySplit(rows, block_rows, short_blocks)
    recipe = Recipe(name, transforms, COLUMNS, groups, "float32")
    return LoaderSource(name, split, RawDecoder(), SourceTransform(recipe, split, f"mem://{name}", "train"))


def custom(target, **args):
    return CustomSpec(target=f"tests.data.transforms.custom:{target}", args=args)
