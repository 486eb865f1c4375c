"""manifest.json: every file of a checkpoint with its checksums, and every tensor with where its parts are."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from distmtl.checkpoint.blocks import BLOCK_BYTES, FileRecord
from distmtl.checkpoint.contents import SCHEMA, migrate
from distmtl.checkpoint.layout import DTYPES, Box, TensorSpec, covers
from distmtl.checkpoint.records import to_json
from distmtl.errors import CheckpointError

_FILE = re.compile(r"(data/\d{5,}-\d+|state/\d{5,})\.bin")
_CHECKSUM = re.compile(r"[0-9a-f]{16}")
_CHECKSUMS = "xxh3_64"


@dataclass(frozen=True)
class Shard:
    """A part of a tensor: which, in what file, and from what byte on."""

    box: Box
    file: str
    start: int


@dataclass(frozen=True)
class TensorRecord:
    """A tensor and all its parts."""

    spec: TensorSpec
    shards: tuple[Shard, ...]


@dataclass(frozen=True)
class RankRecord:
    """What one rank alone had: JSON values that refer to tensors by name (``nested``)."""

    values: Any
    tensors: Mapping[str, TensorRecord]


@dataclass(frozen=True)
class Manifest:
    """A checkpoint as its files spell it.

    Attributes:
        step: Steps done.
        files: Every file, by its key within the checkpoint.
        tensors: Parameters, optimizer state and whatever else ``RunState.tensors`` held.
        values: ``RunState.values`` as JSON that refers to ``value_tensors`` by name.
        value_tensors: The arrays and tensors of ``values``.
        ranks: What each rank had of its own; one entry per worker that wrote.
    """

    step: int
    files: Mapping[str, FileRecord]
    tensors: Mapping[str, TensorRecord]
    values: Any
    value_tensors: Mapping[str, TensorRecord]
    ranks: tuple[RankRecord, ...]

    def to_bytes(self) -> bytes:
        """The file's content."""
        return to_json(
            {
                "schema": SCHEMA,
                "step": self.step,
                "checksums": _CHECKSUMS,
                "block_bytes": BLOCK_BYTES,
                "files": {key: {"bytes": file.size, "blocks": file.blocks} for key, file in self.files.items()},
                "tensors": _write_tensors(self.tensors),
                "values": self.values,
                "value_tensors": _write_tensors(self.value_tensors),
                "ranks": [{"values": rank.values, "tensors": _write_tensors(rank.tensors)} for rank in self.ranks],
            }
        )

    @staticmethod
    def from_bytes(data: bytes, where: str) -> "Manifest":
        """Parse and check the file's content: whatever it says can be read without leaving the checkpoint.

        Raises:
            CheckpointError: It is malformed or of a later schema, names a file outside the checkpoint, or its tensors
                are not filled exactly by their shards.
        """
        try:
            values = migrate(json.loads(data), where)
            manifest = _parse(values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(
                f"the manifest is malformed: {error!r}.", where, "Resume from an earlier checkpoint."
            ) from error
        return manifest


def _parse(values: dict[str, Any]) -> Manifest:
    _require(values["checksums"] == _CHECKSUMS and values["block_bytes"] == BLOCK_BYTES, "unknown checksums")
    files = {key: _parse_file(key, file) for key, file in values["files"].items()}
    return Manifest(
        step=_natural(values["step"]),
        files=files,
        tensors=_parse_tensors(values["tensors"], files),
        values=values["values"],
        value_tensors=_parse_tensors(values["value_tensors"], files),
        ranks=tuple(RankRecord(rank["values"], _parse_tensors(rank["tensors"], files)) for rank in values["ranks"]),
    )


def _parse_file(key: str, file: dict[str, Any]) -> FileRecord:
    _require(_FILE.fullmatch(key) is not None, f"{key!r} is not a file of a checkpoint")
    record = FileRecord(_natural(file["bytes"]), tuple(file["blocks"]))
    _require(len(record.blocks) == math.ceil(record.size / BLOCK_BYTES), f"'{key}' has the wrong number of blocks")
    _require(all(_CHECKSUM.fullmatch(block) for block in record.blocks), f"'{key}' has a malformed checksum")
    return record


def _parse_tensors(values: dict[str, Any], files: Mapping[str, FileRecord]) -> dict[str, TensorRecord]:
    return {name: _parse_tensor(name, tensor, files) for name, tensor in values.items()}


def _parse_tensor(name: str, tensor: dict[str, Any], files: Mapping[str, FileRecord]) -> TensorRecord:
    _require(tensor["dtype"] in DTYPES, f"'{name}' has the unknown dtype {tensor['dtype']!r}")
    spec = TensorSpec(tensor["dtype"], _naturals(tensor["shape"]))
    shards = tuple(
        Shard(Box(_naturals(part["offsets"]), _naturals(part["lengths"])), part["file"], _natural(part["start"]))
        for part in tensor["shards"]
    )
    _require(covers(spec.shape, [shard.box for shard in shards]), f"'{name}' is not filled exactly by its shards")
    for shard in shards:
        _require(shard.file in files, f"'{name}' is in {shard.file!r}, which is not among the files")
        end = shard.start + shard.box.items * spec.item_bytes
        _require(end <= files[shard.file].size, f"'{name}' goes beyond the end of '{shard.file}'")
    return TensorRecord(spec, shards)


def _write_tensors(tensors: Mapping[str, TensorRecord]) -> dict[str, Any]:
    return {
        name: {
            "dtype": tensor.spec.dtype,
            "shape": tensor.spec.shape,
            "shards": [
                {"offsets": part.box.offsets, "lengths": part.box.lengths, "file": part.file, "start": part.start}
                for part in tensor.shards
            ],
        }
        for name, tensor in tensors.items()
    }


def merge(parts: list[dict[str, TensorRecord]]) -> dict[str, TensorRecord]:
    """The records of all ranks as one: a tensor's shards from wherever they were written."""
    merged: dict[str, TensorRecord] = {}
    for part in parts:
        for name, record in part.items():
            before = merged.get(name, TensorRecord(record.spec, ()))
            merged[name] = TensorRecord(record.spec, before.shards + record.shards)
    return merged


def _naturals(values: list[Any]) -> tuple[int, ...]:
    return tuple(_natural(value) for value in values)


def _natural(value: Any) -> int:
    _require(type(value) is int and value >= 0, f"{value!r} is not a natural number")
    return int(value)


def _require(holds: bool, problem: str) -> None:  # noqa: FBT001 - reads like an assertion
    if not holds:
        raise ValueError(problem)
