"""Reading a checkpoint at any world size, every byte checked."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from distmtl.checkpoint.agreement import on_first, together
from distmtl.checkpoint.blocks import BLOCK_BYTES, FileRecord, read_blocks
from distmtl.checkpoint.commit import MANIFEST, CheckpointRef, find, read_commit
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.layout import DTYPES, Box
from distmtl.checkpoint.manifest import Manifest, Shard, TensorRecord
from distmtl.checkpoint.nested import join
from distmtl.checkpoint.records import digest
from distmtl.checkpoint.run import RunStore
from distmtl.checkpoint.sharding import view_bytes
from distmtl.errors import CheckpointError, KeyMissingError
from distmtl.parallel.world import World
from distmtl.store import Store


@dataclass(frozen=True)
class Skipped:
    """A checkpoint that could not be used, and why."""

    ref: CheckpointRef
    reason: str


@dataclass(frozen=True)
class Loaded:
    """A checkpoint in memory.

    Attributes:
        ref: Which.
        state: What it held.
        skipped: Newer ones that could not be used, newest first.
    """

    ref: CheckpointRef
    state: RunState
    skipped: tuple[Skipped, ...] = ()


def read_manifest(run: RunStore, ref: CheckpointRef) -> Manifest:
    """The manifest of a committed checkpoint.

    Raises:
        CheckpointError: It was never committed, or COMMIT.json or the manifest is damaged.
    """
    commit = read_commit(run, ref)
    where = f"{ref.uri}/{MANIFEST}"
    try:
        data = run.store.get(f"{ref.key}/{MANIFEST}")
    except KeyMissingError as error:
        raise CheckpointError("the manifest is missing.", where, "Resume from an earlier checkpoint.") from error
    if len(data) != commit.manifest_bytes or digest(data) != commit.manifest_digest:
        raise CheckpointError(
            "the manifest does not match the checksum in COMMIT.json.", where, "Resume from an earlier checkpoint."
        )
    return Manifest.from_bytes(data, where)


def verify(run: RunStore, ref: CheckpointRef, *, deep: bool = True) -> None:
    """Check a checkpoint: COMMIT.json, the manifest, the size of every file and, if ``deep``, every block.

    Raises:
        CheckpointError: Something is missing or damaged; names the file, and the block.
    """
    manifest = read_manifest(run, ref)
    folder = run.store.at(ref.key)
    sizes = {entry.key: entry.size for entry in folder.list()}
    for key, file in manifest.files.items():
        if sizes.get(key) != file.size:
            raise CheckpointError(
                f"the file has {sizes.get(key)} bytes, and {file.size} were written.",
                f"{ref.uri}/{key}",
                "Resume from an earlier checkpoint.",
            )
        if deep:
            for _ in read_blocks(folder, key, file, range(len(file.blocks))):
                pass


def load(run: RunStore, ref: CheckpointRef, world: World) -> RunState:
    """Read a checkpoint, at any world size. A collective; tensors are whole, on the CPU, and the same on all ranks.

    Raises:
        CheckpointError: It is damaged: on any rank, and then on all of them. Names the file and the block.
        StoreError: The store failed.
    """
    manifest = on_first(world, lambda: read_manifest(run, ref))
    return together(world, lambda: _read_state(run.store.at(ref.key), manifest, world))


def latest_good(run: RunStore, world: World) -> Loaded | None:
    """Load the newest checkpoint that is whole. A collective.

    Returns:
        It, with those passed over because they are damaged; None if the run has no checkpoint at all.

    Raises:
        CheckpointError: There are checkpoints, and all of them are damaged.
        StoreError: The store failed. That is no reason to go back to an older checkpoint.
    """
    skipped: list[Skipped] = []
    for ref in on_first(world, lambda: find(run)):
        try:
            return Loaded(ref, load(run, ref, world), tuple(skipped))
        except CheckpointError as error:
            skipped.append(Skipped(ref, str(error)))
    if skipped:
        raise CheckpointError(
            f"none of the {len(skipped)} checkpoints can be used; the newest: {skipped[0].reason}",
            run.uri,
            "Restore one from a copy, or start anew with --resume never.",
        )
    return None


def _read_state(folder: Store, manifest: Manifest, world: World) -> RunState:
    parts = [(manifest.values, manifest.value_tensors)]
    if len(manifest.ranks) == world.size:
        own = manifest.ranks[world.rank]
        parts.append((own.values, own.tensors))
    try:
        nested = [join(values, read_tensors(folder, manifest.files, records)) for values, records in parts]
    except KeyError as error:
        raise CheckpointError(
            f"the manifest lacks the tensor {error}.", f"{folder.uri}/{MANIFEST}", "Resume from an earlier checkpoint."
        ) from error
    return RunState(read_tensors(folder, manifest.files, manifest.tensors), *nested)


def read_tensors(
    folder: Store, files: Mapping[str, FileRecord], records: Mapping[str, TensorRecord]
) -> dict[str, Tensor]:
    """Assemble tensors from their shards, reading only the blocks that hold them.

    Raises:
        CheckpointError: A file is missing or cut short, or a block does not match its checksum.
    """
    tensors = {
        name: torch.empty(record.spec.shape, dtype=DTYPES[record.spec.dtype]) for name, record in records.items()
    }
    by_file: dict[str, list[_Landing]] = {}
    for name, record in records.items():
        for shard in record.shards:
            by_file.setdefault(shard.file, []).append(_Landing.of(tensors[name], shard))
    for key, landings in by_file.items():
        _fill(folder, key, files[key], sorted(landings, key=lambda landing: landing.start))
    return tensors


@dataclass(frozen=True)
class _Landing:
    """Where the bytes of a shard go.

    Attributes:
        start: Byte of the file at which the shard begins.
        room: As many bytes of memory.
        part: A tensor over ``room`` that is copied to ``target`` in the end; None where ``room`` is the target itself.
        target: The shard's place in the whole tensor.
    """

    start: int
    room: memoryview
    part: Tensor | None
    target: Tensor

    @staticmethod
    def of(tensor: Tensor, shard: Shard) -> "_Landing":
        target = tensor[shard.box.slices()]
        if _in_one_stretch(tensor, shard.box):
            return _Landing(shard.start, view_bytes(target), None, target)
        part = torch.empty(shard.box.lengths, dtype=tensor.dtype)
        return _Landing(shard.start, view_bytes(part), part, target)

    @property
    def end(self) -> int:
        return self.start + len(self.room)


def _in_one_stretch(tensor: Tensor, box: Box) -> bool:
    """Whether a box of a contiguous tensor is contiguous: whole rows of the first dimension."""
    return box.lengths[1:] == tuple(tensor.shape[1:])


def _fill(folder: Store, key: str, file: FileRecord, landings: list[_Landing]) -> None:
    """Read the blocks that the landings touch, in order, and copy each to wherever its bytes belong."""
    wanted = {
        number
        for landing in landings
        for number in range(landing.start // BLOCK_BYTES, (landing.end - 1) // BLOCK_BYTES + 1)
    }
    waiting = list(reversed(landings))
    open_ones: list[_Landing] = []
    for start, data in read_blocks(folder, key, file, wanted):
        end = start + len(data)
        while waiting and waiting[-1].start < end:
            open_ones.append(waiting.pop())
        for landing in open_ones:
            first, last = max(start, landing.start), min(end, landing.end)
            landing.room[first - landing.start : last - landing.start] = data[first - start : last - start]
        open_ones = [landing for landing in open_ones if landing.end > end]
    for landing in landings:
        if landing.part is not None:
            landing.target.copy_(landing.part)
