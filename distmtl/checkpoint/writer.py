"""Saving a checkpoint: every rank its share, then one commit.

Each rank streams its pieces into files of its own and checks their sizes at the store. Only when all of them succeeded
does rank 0 write the manifest and then, create-only and last, COMMIT.json. Whatever happens before that leaves nothing
that ``commit.find`` shows; whatever happens after it leaves a whole checkpoint.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from distmtl.checkpoint.agreement import on_first, together
from distmtl.checkpoint.attempt import Attempt, ensure_current
from distmtl.checkpoint.blocks import BlockHasher, FileRecord
from distmtl.checkpoint.commit import COMMIT, MANIFEST, CheckpointRef, Commit, as_metrics
from distmtl.checkpoint.contents import RunState
from distmtl.checkpoint.layout import Piece, Placed, TensorSpec, deal, place, whole
from distmtl.checkpoint.manifest import Manifest, RankRecord, Shard, TensorRecord, merge
from distmtl.checkpoint.nested import split
from distmtl.checkpoint.records import digest, to_json
from distmtl.checkpoint.run import RunStore
from distmtl.checkpoint.sharding import Columns, LocalPart, is_sharded, local_part, spec_of, to_bytes
from distmtl.errors import CheckpointError, StoreError
from distmtl.parallel.world import World
from distmtl.store import Store
from distmtl.store.claim import claim

_VALUE = "values:"


@dataclass(frozen=True)
class _Share:
    """What one rank wrote.

    Attributes:
        files: By key within the checkpoint.
        tensors: Its parts of the common tensors; those of ``values`` have names that begin with ``_VALUE``.
        rank: What it alone had.
    """

    files: dict[str, FileRecord]
    tensors: dict[str, TensorRecord]
    rank: RankRecord


def save(
    run: RunStore,
    attempt: Attempt,
    step: int,
    state: RunState,
    world: World,
    metrics: Mapping[str, float] | None = None,
) -> CheckpointRef:
    """Write a checkpoint and commit it. A collective; returns when it is visible.

    Saving a step that this attempt has committed already returns that checkpoint.

    Args:
        run: Where.
        attempt: This attempt, the same on all ranks.
        step: Steps done.
        state: The state at that step (``RunState`` says what must be the same on all ranks).
        world: The workers of the attempt.
        metrics: '<task>/<metric>' on the valid split, for ``keep_best``.

    Raises:
        SupersededError: A later attempt has begun.
        StoreError: The store failed on some rank.
        CheckpointError: The ranks do not hold the same tensors and values, or something that cannot be stored.

        In all cases every rank raises the same error and nothing is committed.
    """
    ref = CheckpointRef(step, attempt.number, attempt.id, run.uri)
    if on_first(world, lambda: _is_committed(run, attempt, ref)):
        return ref
    values, value_tensors = together(world, lambda: split(dict(state.values)))
    named: dict[str, Tensor | Columns] = {**state.tensors, **state.columns}
    tensors = {**named, **{_VALUE + name: tensor for name, tensor in value_tensors.items()}}
    specs = together(world, lambda: _check_contents(named, tensors))
    _check_same(world, specs, values, ref)
    share = together(world, lambda: _write_share(run.store.at(ref.key), specs, tensors, state.rank_values, world))
    shares = world.gather(share)
    on_first(world, lambda: _commit(run, attempt, ref, values, specs, shares or [], as_metrics(metrics or {})))
    return ref


def _is_committed(run: RunStore, attempt: Attempt, ref: CheckpointRef) -> bool:
    ensure_current(run, attempt)
    return bool(run.store.size(f"{ref.key}/{COMMIT}"))


def _check_contents(
    given: Mapping[str, Tensor | Columns], tensors: Mapping[str, Tensor | Columns]
) -> dict[str, TensorSpec]:
    if sys.byteorder != "little":
        raise CheckpointError("checkpoints are little-endian, and this machine is not.")
    for name in given:
        if name.startswith(_VALUE):
            raise CheckpointError(f"the name '{name}' begins with '{_VALUE}', which is reserved.")
    return {name: spec_of(name, tensor) for name, tensor in tensors.items()}


def _check_same(world: World, specs: Mapping[str, TensorSpec], values: Any, ref: CheckpointRef) -> None:
    """Check that all ranks are about to write the same checkpoint."""
    mine = {f"tensor '{name}'": f"{spec.dtype} {list(spec.shape)}" for name, spec in specs.items()}
    mine |= {f"value '{name}'": digest(to_json(value)) for name, value in values.items()}
    if len(set(world.all_gather((digest(to_json(mine)), ref)))) == 1:
        return
    all_of = world.all_gather({"the step": ref.step, "the attempt": ref.id, **mine})
    for rank, theirs in enumerate(all_of):
        for name in {**all_of[0], **theirs}:
            if theirs.get(name) != all_of[0].get(name):
                raise CheckpointError(
                    f"rank {rank} differs from rank 0 in {name}: {theirs.get(name)} against {all_of[0].get(name)}.",
                    ref.uri,
                    "Keep what ranks do not share in 'rank_values'.",
                )


def _write_share(
    folder: Store, specs: Mapping[str, TensorSpec], tensors: Mapping[str, Tensor | Columns],
    rank_values: Mapping[str, Any], world: World,
) -> _Share:  # fmt: skip
    """Write this rank's files."""
    parts = {name: local_part(name, tensor) for name, tensor in tensors.items() if is_sharded(tensor)}
    replicated = {name: spec for name, spec in specs.items() if name not in parts}
    pieces = deal(replicated, world.size)[world.rank] + [
        Piece(name, part.box, part.box.items * specs[name].item_bytes) for name, part in parts.items() if part.writes
    ]

    def cut(piece: Piece) -> Tensor:
        part: LocalPart | None = parts.get(piece.name)
        if part is not None:
            return part.tensor
        whole_tensor = tensors[piece.name]
        if isinstance(whole_tensor, Columns):
            raise AssertionError("columns are parts")
        return whole_tensor[piece.box.slices()]

    data_key = f"data/{world.rank:05}-0.bin"
    files, records = _write_file(folder, data_key, pieces, specs, cut)
    # Tensors without elements are in no file, but they are part of the state.
    empty = {name: TensorRecord(spec, ()) for name, spec in specs.items() if spec.total_bytes == 0}
    own_values, own_tensors = split(dict(rank_values))
    own_specs = {name: spec_of(name, tensor) for name, tensor in own_tensors.items()}
    own_files, own_records = _write_file(
        folder,
        f"state/{world.rank:05}.bin",
        [Piece(name, whole(spec.shape), spec.total_bytes) for name, spec in own_specs.items() if spec.total_bytes],
        own_specs,
        lambda piece: own_tensors[piece.name],
    )
    own_empty = {name: TensorRecord(spec, ()) for name, spec in own_specs.items() if spec.total_bytes == 0}
    return _Share(files | own_files, empty | records, RankRecord(own_values, own_empty | own_records))


def _write_file(
    folder: Store, key: str, pieces: list[Piece], specs: Mapping[str, TensorSpec], cut: Callable[[Piece], Tensor]
) -> tuple[dict[str, FileRecord], dict[str, TensorRecord]]:
    """Stream pieces into one file, none if there are no pieces, and check its size at the store."""
    if not pieces:
        return {}, {}
    placed = place(pieces)
    file = _stream(folder, key, placed, cut)
    if (size := folder.size(key)) != file.size:
        raise StoreError(
            f"'{key}' has {size} bytes at the store, and {file.size} were sent.", folder.uri, "Check the store."
        )
    shards: dict[str, tuple[Shard, ...]] = {}
    for item in placed:
        shards[item.piece.name] = (*shards.get(item.piece.name, ()), Shard(item.piece.box, key, item.start))
    return {key: file}, {name: TensorRecord(specs[name], found) for name, found in shards.items()}


def _stream(folder: Store, key: str, placed: list[Placed], cut: Callable[[Piece], Tensor]) -> FileRecord:
    hasher = BlockHasher()
    with folder.writer(key) as writer:
        for item in placed:
            for data in (memoryview(bytes(item.start - hasher.size)), to_bytes(cut(item.piece))):
                hasher.update(data)
                writer.write(data)
    return hasher.finish()


def _commit(
    run: RunStore, attempt: Attempt, ref: CheckpointRef, values: Any, specs: Mapping[str, TensorSpec],
    shares: list[_Share], metrics: Mapping[str, float],
) -> None:  # fmt: skip
    """Make the checkpoint visible. On rank 0, after all ranks have written their shares."""
    nobodys = {name: TensorRecord(spec, ()) for name, spec in specs.items()}  # parts that no rank wrote are refused
    merged = merge([nobodys, *(share.tensors for share in shares)])
    manifest = Manifest(
        step=ref.step,
        files={key: file for share in shares for key, file in share.files.items()},
        tensors={name: merged[name] for name in specs if not name.startswith(_VALUE)},
        values=values,
        value_tensors={name.removeprefix(_VALUE): merged[name] for name in specs if name.startswith(_VALUE)},
        ranks=tuple(share.rank for share in shares),
    )
    data = manifest.to_bytes()
    Manifest.from_bytes(data, f"{ref.uri}/{MANIFEST}")  # What cannot be read must not be committed.
    run.store.put(f"{ref.key}/{MANIFEST}", data)
    commit = Commit(
        step=ref.step,
        attempt=ref.attempt,
        id=ref.id,
        world_size=len(shares),
        manifest_digest=digest(data),
        manifest_bytes=len(data),
        total_bytes=sum(file.size for file in manifest.files.values()),
        metrics=metrics,
    )
    ensure_current(run, attempt)
    claim(run.store, f"{ref.key}/{COMMIT}", commit.to_bytes())
