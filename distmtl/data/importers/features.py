"""What Hugging Face ``datasets`` says of a column beside its Arrow type: the names of classes, and what is a file."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from distmtl.data.importers.base import reading
from distmtl.errors import SourceError

Features = Mapping[str, Any]
"""Features by column, as they stand in dataset_info.json: ``{"_type": ..., ...}``, or features of a struct's fields."""

_FILES = ("Image", "Audio", "Video", "Pdf")


def features_of(schema: pa.Schema) -> Features:
    """The features that ``datasets`` writes into the metadata of Arrow and Parquet files; none where it did not."""
    text = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(text)["info"]["features"] if text else {}
    except (ValueError, LookupError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def decoded_type(kind: pa.DataType, feature: Any) -> pa.DataType:
    """The type of what :func:`decode` makes of an array."""
    if _is_file(kind, feature):
        return pa.binary()
    if _class_names(kind, feature):
        return pa.string()
    if _is_struct(kind, feature):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return pa.struct([(part.name, decoded_type(part.type, feature.get(part.name))) for part in fields])
    return kind


def decode(array: Any, feature: Any, name: str, path: str) -> Any:
    """Classes as their names, files as their bytes; a struct's fields in the same way; anything else as it is.

    Args:
        array: Values of a column.
        feature: What is said of them.
        name: What the column is called in messages.
        path: The input.

    Raises:
        SourceError: A class has no name, or a file cannot be read.
    """
    if _is_file(array.type, feature):
        return _file_bytes(array, path)
    names = _class_names(array.type, feature)
    if names:
        return _named(array, names, name, path)
    if _is_struct(array.type, feature):
        fields = [array.type.field(i).name for i in range(array.type.num_fields)]
        parts = [
            decode(part, feature.get(field), f"{name}, field '{field}'", path)
            for field, part in zip(fields, array.flatten(), strict=True)
        ]
        return pa.StructArray.from_arrays(parts, names=fields, mask=array.is_null())
    return array


def _is_struct(kind: pa.DataType, feature: Any) -> bool:
    return bool(pa.types.is_struct(kind)) and isinstance(feature, dict) and "_type" not in feature


def _is_file(kind: Any, feature: Any) -> bool:
    if not isinstance(feature, dict) or feature.get("_type") not in _FILES or not pa.types.is_struct(kind):
        return False
    return {"bytes", "path"} == {kind.field(i).name for i in range(kind.num_fields)}


def _class_names(kind: pa.DataType, feature: Any) -> list[str]:
    if not isinstance(feature, dict) or feature.get("_type") != "ClassLabel" or not pa.types.is_integer(kind):
        return []
    return [str(name) for name in feature.get("names") or ()]


def _named(array: Any, names: list[str], name: str, path: str) -> Any:
    """Class names; -1 is what ``datasets`` writes for a row whose class is not known."""
    numbers = pc.if_else(pc.equal(array, -1), pa.scalar(None, array.type), array).cast(pa.int64())
    largest = pc.max(numbers).as_py()
    smallest = pc.min(numbers).as_py()
    if largest is not None and (largest >= len(names) or smallest < 0):
        wrong = largest if largest >= len(names) else smallest
        what = f"{name} holds class {wrong}, but there are names for 0 to {len(names) - 1}."
        raise SourceError(what, path, "Correct the names of its ClassLabel.")
    return pa.array(names, pa.string()).take(numbers)


def _file_bytes(array: Any, path: str) -> Any:
    """The bytes of each row, read from the file that a row names where it does not hold them."""
    inner = dict(zip((array.type.field(0).name, array.type.field(1).name), array.flatten(), strict=True))
    held, named = inner["bytes"].cast(pa.binary()), inner["path"]
    absent = pc.and_(pc.is_null(held), pc.is_valid(named)).to_numpy(zero_copy_only=False)
    if not absent.any():
        return held
    values = held.to_pylist()
    for row in np.flatnonzero(absent).tolist():
        file = named[row].as_py()
        with reading(path, f"A row names the file '{file}' and does not hold its bytes: bring the file back."):
            values[row] = Path(file).read_bytes()
    return pa.array(values, pa.binary())
