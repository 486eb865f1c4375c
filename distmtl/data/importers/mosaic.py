"""Mosaic MDS: a folder with an index.json and shards of samples, as MosaicML Streaming writes them.

A shard is: number of samples (uint32), offsets of the samples and of the end (uint32 each), its settings as JSON, the
samples. A sample is: the sizes of its columns of variable size (uint32 each), the bytes of all columns. Numbers are
little-endian. Nothing is ever unpickled.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from distmtl.data.importers.arrays import decode_array
from distmtl.data.importers.base import files_fingerprint, not_empty, reading
from distmtl.data.importers.values import Kinds, Row, flatten, in_groups, to_batches
from distmtl.errors import SourceError

INDEX = "index.json"
_REMEDY = "Copy the folder again, or write it again with MDSWriter."
_CODECS = {"zstd": "zstd", "gz": "gzip", "bz2": "bz2", "br": "brotli"}
_SCALARS = {
    "int": "int64",
    **{name: name for width in (8, 16, 32, 64) for name in (f"int{width}", f"uint{width}")},
    **{f"float{width}": f"float{width}" for width in (16, 32, 64)},
}
_DECODERS: Mapping[str, tuple[pa.DataType, Callable[[bytes], Any]]] = {
    "bytes": (pa.binary(), bytes),
    "jpeg": (pa.binary(), bytes),
    "png": (pa.binary(), bytes),
    "str": (pa.string(), bytes.decode),
    "str_int": (pa.int64(), lambda data: int(data.decode())),
    "str_float": (pa.float64(), lambda data: float(data.decode())),
    "str_decimal": (pa.float64(), lambda data: float(data.decode())),
}


@dataclass(frozen=True)
class MosaicInput:
    """An MDS folder.

    Attributes:
        path: The folder that holds index.json.
        drop: Columns that come out as nulls, whatever their encoding.
    """

    path: str
    drop: tuple[str, ...] = ()
    text: bool = False
    notes: tuple[str, ...] = ()

    @cached_property
    def schema(self) -> pa.Schema:  # noqa: D102
        kinds = Kinds(self.path, self.drop)
        columns = self._shards[0].columns if self._shards else ()
        for column in columns:
            if column.kind is not None or column.name in self.drop:
                kinds.name(column.name, column.kind or pa.null())
        if any(column.kind is None and column.name not in self.drop for column in columns):
            for group in in_groups(self._rows()):
                kinds.see(group)
        return kinds.schema()

    def batches(self) -> Iterator[pa.RecordBatch]:  # noqa: D102
        schema = self.schema
        return not_empty(self.path, to_batches(self.path, self._rows(), schema, self.drop))

    def fingerprint(self) -> str:  # noqa: D102
        return files_fingerprint(str(Path(self.path, INDEX)), *(shard.path for shard in self._shards))

    @cached_property
    def _shards(self) -> "list[_Shard]":
        where = str(Path(self.path, INDEX))
        with reading(where, _REMEDY):
            try:
                index = json.loads(Path(where).read_bytes())
                shards = [_shard(self.path, shard, self.drop) for shard in index["shards"]]
            except (ValueError, TypeError, LookupError) as error:
                what = f"this is not an index of MDS shards: {type(error).__name__} {error}."
                raise SourceError(what, where, _REMEDY) from error
        for shard in shards[1:]:
            if shard.columns != shards[0].columns:
                what = f"its columns are not those of '{Path(shards[0].path).name}'."
                raise SourceError(what, shard.path, "Write all shards with the same columns.")
        return shards

    def _rows(self) -> Iterator[Row]:
        for shard in self._shards:
            with reading(shard.path, _REMEDY):
                yield from _samples(shard, self.drop)


@dataclass(frozen=True)
class _Column:
    """A column: its bytes in each sample (None: they vary), and its type (None: found from the values)."""

    name: str
    encoding: str
    size: int | None

    @property
    def kind(self) -> pa.DataType | None:
        if self.encoding in _SCALARS:
            return pa.from_numpy_dtype(_SCALARS[self.encoding])
        if self.encoding.startswith("ndarray:") and self.encoding.count(":") == 2:
            _, dtype, shape = self.encoding.split(":")
            return reduce(lambda kind, _: pa.list_(kind), shape.split(","), pa.from_numpy_dtype(dtype))
        return _DECODERS[self.encoding][0] if self.encoding in _DECODERS else None


@dataclass(frozen=True)
class _Shard:
    """A shard: its file, that file's compression, and what it holds."""

    path: str
    codec: str | None
    samples: int
    bytes: int
    columns: tuple[_Column, ...]


def _shard(folder: str, index: Mapping[str, Any], drop: tuple[str, ...]) -> _Shard:
    if index["format"] != "mds":
        what = f"its shards are of format '{index['format']}', not mds."
        raise SourceError(what, str(Path(folder, INDEX)), "Give the JSON or CSV files themselves.")
    if index["version"] != 2:
        raise SourceError(f"its version is {index['version']}, not 2.", str(Path(folder, INDEX)), _REMEDY)
    names, encodings, sizes = index["column_names"], index["column_encodings"], index["column_sizes"]
    columns = tuple(_Column(str(a), str(b), c) for a, b, c in zip(names, encodings, sizes, strict=True))
    raw, zipped = index["raw_data"], index["zip_data"]
    path = Path(folder, _plain_name(folder, raw["basename"]))
    for column in columns:
        if column.name not in drop:
            _refuse_encoding(str(path), column)
    codec = None
    # Streaming keeps the compressed shard, the plain one, or both.
    if zipped and not path.exists():
        path = Path(folder, _plain_name(folder, zipped["basename"]))
        codec = _CODECS.get(str(index["compression"]).split(":")[0])
        if codec is None:
            what = f"the shard is compressed by '{index['compression']}', which cannot be read."
            raise SourceError(what, str(path), f"Decompress it, or use one of {', '.join(_CODECS)}.")
    return _Shard(str(path), codec, int(index["samples"]), int(raw["bytes"]), columns)


def _plain_name(folder: str, name: str) -> str:
    if not name or Path(name).name != name:
        raise SourceError(f"its shard '{name}' is not in its folder.", str(Path(folder, INDEX)), _REMEDY)
    return name


def _refuse_encoding(path: str, column: _Column) -> None:
    name, encoding = column.name, column.encoding
    if encoding in _SCALARS or encoding in _DECODERS or encoding == "json" or encoding.split(":")[0] == "ndarray":
        return
    what = f"column '{name}' is encoded as '{encoding}', which is not read"
    if encoding == "pkl":
        what += ": a pickle can run any code"
    remedy = "jpeg or png" if encoding.startswith(("pil", "list", "jpeg")) else "json or ndarray"
    raise SourceError(f"{what}.", path, f"Write it as {remedy}, or use --drop {name}.")


def _samples(shard: _Shard, drop: tuple[str, ...]) -> Iterator[Row]:
    """The samples of a shard, read one after the other.

    Raises:
        SourceError: It is shorter than the index says, or a sample is not what its columns say.
    """
    name = Path(shard.path).name
    with pa.input_stream(shard.path, compression=shard.codec) as file:
        samples = int.from_bytes(_take(shard, file, 4), "little")
        if samples != shard.samples:
            raise SourceError(f"it has {samples} samples, but {INDEX} says {shard.samples}.", shard.path, _REMEDY)
        ends = np.frombuffer(_take(shard, file, 4 * (samples + 1)), "<u4").astype(np.int64)
        lengths = np.diff(ends)
        if ends[-1] != shard.bytes or (lengths < 0).any() or ends[0] < 4 * (samples + 2):
            what = f"its table of offsets is damaged: it ends at {ends[-1]}, but {INDEX} says {shard.bytes}."
            raise SourceError(what, shard.path, _REMEDY)
        _take(shard, file, int(ends[0]) - 4 * (samples + 2))
        for number, length in enumerate(lengths.tolist()):
            where = f"{name}, sample {number}"
            yield where, _decode(shard, where, _take(shard, file, length), drop)


def _take(shard: _Shard, file: Any, length: int) -> bytes:
    data: bytes = file.read(length)
    if len(data) < length:
        raise SourceError(f"it ends early: {INDEX} says that it has {shard.bytes} bytes.", shard.path, _REMEDY)
    return data


def _decode(shard: _Shard, where: str, data: bytes, drop: tuple[str, ...]) -> dict[str, Any]:
    varying = sum(1 for column in shard.columns if not column.size)
    place = 4 * varying
    values: dict[str, Any] = {}
    try:
        sizes = iter(np.frombuffer(data, "<u4", varying).tolist() if varying else ())
        for column in shard.columns:
            size = column.size or next(sizes)
            part = data[place : place + size]
            place += size
            if column.name not in drop:
                values[column.name] = _value(column.encoding, part)
    except (ValueError, LookupError, StopIteration, RecursionError) as error:
        raise SourceError(f"{where} cannot be decoded: {error}.", shard.path, _REMEDY) from error
    if place != len(data):
        raise SourceError(f"{where} has {len(data)} bytes, but its columns {place}.", shard.path, _REMEDY)
    return flatten(values)


def _value(encoding: str, data: bytes) -> Any:
    if encoding in _SCALARS:
        return np.frombuffer(data, np.dtype(_SCALARS[encoding]).newbyteorder("<"))[0]
    if encoding == "json":
        return json.loads(data)
    if encoding in _DECODERS:
        return _DECODERS[encoding][1](data)
    return decode_array(encoding, data)
