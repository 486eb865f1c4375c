"""Rows of a source on their way to the trunk: what the transforms make of them, as tensors."""

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from distmtl.data.decode import Decoded, Decoder
from distmtl.data.plan import Blocks
from distmtl.data.sequence import BlockSequence
from distmtl.data.source import Split
from distmtl.data.specs import SourceSpec
from distmtl.data.transforms.chain import RowFailure
from distmtl.data.transforms.infos import column_infos
from distmtl.data.transforms.keys import Keys, row_keys
from distmtl.data.transforms.pool import Pool, Task
from distmtl.data.transforms.rows import Groups, Recipe, Rows
from distmtl.errors import SourceError
from distmtl.features import InputGroup, LabelInfo

Int64 = npt.NDArray[np.int64]


class RowPlaces(NamedTuple):
    """Which rows of a split some rows are: the pass that drew each ``[N]``, and its number in the split ``[N]``."""

    passes: Int64
    numbers: Int64


class SourceTransform:
    """Makes the input groups of one source's rows from its gathered columns.

    Args:
        recipe: How.
        split: The split that the rows are of.
        uri: The source's, for errors.
        split_name: For errors.

    Attributes:
        recipe: How; processes that do the work get it.
        blocks: The blocks of the split.
    """

    def __init__(self, recipe: Recipe, split: Blocks, uri: str, split_name: str) -> None:
        self.recipe = recipe
        self.blocks = BlockSequence(split.block_rows, split.short_blocks)
        self._uri, self._split_name = uri, split_name

    @cached_property
    def rows(self) -> Rows:
        """The work itself, in this process."""
        return Rows(self.recipe)

    def apply(self, gathered: Decoded, numbers: Int64, keys: Keys | None = None) -> Decoded:
        """Gathered rows with their input groups.

        Args:
            gathered: The rows, with the columns that :attr:`rows` reads.
            numbers: Number of each row in the split ``[N]``.
            keys: A key per row ``[N]``; None in evaluation.

        Raises:
            SourceError: A transform failed; names the source, transform, split, block and row.
        """
        try:
            groups = self.rows(raw_columns(gathered), keys, gathered.rows)
        except RowFailure as failure:
            raise self.error(failure, numbers) from failure
        return finished(gathered, groups)

    def error(self, failure: RowFailure, numbers: Int64) -> SourceError:
        """The error that a person reads: which transform failed, where, and on which row."""
        what = f"transform {failure.transform} of source '{self.recipe.source}' failed: {failure.what}."
        where = f"{self._uri}: split '{self._split_name}'"
        if failure.row is None:
            where += f", one of the rows {numbers.min()} to {numbers.max()}"
        else:
            (block,), (row,) = self.blocks.find(numbers[failure.row : failure.row + 1])
            where += f", block {block}, row {row}"
        return SourceError(what, where, "Mend the row and pack the source again, or change the transform.")


def raw_columns(gathered: Decoded) -> dict[str, Any]:
    """Gathered columns as transforms see them: NumPy views of tensors, and Arrow arrays."""
    return {name: column.numpy() if isinstance(column, Tensor) else column for name, column in gathered.raw.items()}


def finished(gathered: Decoded, groups: Groups, *, pin: bool = False) -> Decoded:
    """The rows with input groups in place of the columns that these were made from."""
    inputs = {name: torch.from_numpy(values) for name, values in groups.items()}
    if pin:
        inputs = {name: values.pin_memory() for name, values in inputs.items()}
    return replace(gathered, inputs=inputs, raw={})


def open_rows(
    name: str,
    split: Split,
    spec: SourceSpec,
    groups: Sequence[InputGroup],
    targets: Mapping[str, LabelInfo],
    floats: torch.dtype,
) -> tuple[Decoder, SourceTransform | None]:
    """How the rows of a split become batches: its decoder, and its transform unless no column needs one.

    Args:
        name: The source's name.
        split: The split.
        spec: What the run file says of the source.
        groups: Its input groups.
        targets: Its labels by column.
        floats: dtype of numeric inputs, numeric labels and weights.
    """
    if not spec.transforms and all(group.kind != "sequence" for group in groups):
        return Decoder(split, groups, targets, spec.weight, floats), None
    precision = str(floats).removeprefix("torch.")
    recipe = Recipe(name, spec.transforms, column_infos(split.source), tuple(groups), precision)
    transform = SourceTransform(recipe, split, split.source.uri, split.name)
    decoder = Decoder(split, (), targets, spec.weight, floats, raw=transform.rows.reads)
    return decoder, transform


class Stage:
    """The transforms of all sources of a loader: in the caller's thread, or in processes ahead of it.

    Args:
        transforms: By source, in the loader's order; None where there is nothing to do.
        seed: The run's seed.
        workers: Number of processes; 0: the caller's thread.
        pin: Whether inputs lie in page-locked memory.
    """

    def __init__(self, transforms: Sequence[SourceTransform | None], seed: int, workers: int, *, pin: bool) -> None:
        self._transforms, self._seed, self._pin = tuple(transforms), seed, pin
        recipes = {transform.recipe.source: transform.recipe for transform in transforms if transform is not None}
        self._pool = Pool(recipes, workers) if workers and recipes else None
        self.steps_ahead = 2 * workers if self._pool is not None else 0
        """Steps that may be begun before the one that is needed next: each process works on one and has one waiting."""

    def begin(self, step: int, gathered: Mapping[int, Decoded], places: Mapping[int, RowPlaces]) -> "Pending":
        """Begin a step's transforms, for the sources that are in ``places``."""
        tasks = []
        for number, place in places.items():
            transform = self._transforms[number]
            assert transform is not None
            keys = row_keys(self._seed, transform.recipe.source, place.passes, place.numbers)
            rows = gathered[number]
            tasks.append(Task(transform.recipe.source, raw_columns(rows), keys, rows.rows))
        made = None if self._pool is None or not tasks else self._pool.submit(step, [_compact(task) for task in tasks])
        return Pending(gathered, places, tasks, made)

    def finish(self, pending: "Pending") -> dict[int, Decoded]:
        """The step's rows by source, all of them with input groups. Waits for them.

        Raises:
            SourceError: A transform failed; names the source, transform, split, block and row.
            WorkerError: A process ended.
        """
        columns = dict(pending.gathered)
        if not pending.tasks:
            return columns
        try:
            made = self._here(pending.tasks) if pending.made is None else pending.made.result()
        except RowFailure as failure:
            number, transform = self._named(failure.source)
            raise transform.error(failure, pending.places[number].numbers) from failure
        for number, groups in zip(pending.places, made, strict=True):
            columns[number] = finished(columns[number], groups, pin=self._pin)
        return columns

    def close(self, *, wait: bool = True) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.close(wait=wait)

    def _here(self, tasks: Sequence[Task]) -> list[Groups]:
        return [self._named(task.source)[1].rows(task.columns, task.keys, task.rows) for task in tasks]

    def _named(self, source: str) -> tuple[int, SourceTransform]:
        for number, transform in enumerate(self._transforms):
            if transform is not None and transform.recipe.source == source:
                return number, transform
        raise KeyError(source)


class Pending(NamedTuple):
    """A step whose transforms are begun."""

    gathered: Mapping[int, Decoded]
    places: Mapping[int, RowPlaces]
    tasks: Sequence[Task]
    made: "Future[list[Groups]] | None"


def _compact(task: Task) -> Task:
    """The task with Arrow columns that hold their own rows alone: pickling a slice would send the whole buffer."""
    columns = {
        name: pa.concat_arrays([column]) if isinstance(column, pa.Array) else column
        for name, column in task.columns.items()
    }
    return replace(task, columns=columns)
