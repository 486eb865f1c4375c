"""A block as tensors: Arrow buffers seen as NumPy arrays, copied once into the tensors that batches are cut from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from distmtl.data.manifest import Column
from distmtl.data.source import Split
from distmtl.data.vocabulary import run_ids
from distmtl.features import FIRST_ID, CategoricalColumn, InputGroup, LabelInfo

_NUMPY = {torch.float32: np.float32, torch.float64: np.float64}


@dataclass(frozen=True)
class Decoded:
    """The rows of a block, in its order.

    Attributes:
        inputs: Groups by name: ``[N, columns]`` floats with NaN for null, ``[N, columns]`` int64 ids of the run's
            vocabularies, or ``[N, *shape]`` of the column's own dtype.
        targets: Label columns by name ``[N]``: int64 class indices with -1 for null where the classes have names,
            else floats with NaN for null. A label that is no class of the train split is null.
        weights: Row weights ``[N]`` floats with 0 for null, or None where all are 1.
        raw: In place of ``inputs`` until they are transformed, columns by name: ``[N]`` float64 with NaN for null,
            ``[N]`` int32 ids of the source's vocabulary, ``[N, *shape]``, or an Arrow array of text or bytes.
    """

    inputs: Mapping[str, Tensor]
    targets: Mapping[str, Tensor]
    weights: Tensor | None
    raw: Mapping[str, Any] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Number of rows N."""
        for column in self.inputs.values():
            return int(column.shape[0])
        return len(next(iter(self.raw.values())))


class Decoder:
    """Turns blocks of one split's source into tensors.

    Args:
        split: The split that the blocks are of; another split of the same source decodes alike.
        groups: Input groups of the source, as :func:`distmtl.data.describe.describe_inputs` gave them.
        targets: Labels by column, as :func:`distmtl.data.labels.describe_label` gave them.
        weight: The column of row weights, or None.
        floats: ``torch.float32`` or ``torch.float64``: dtype of numeric inputs, numeric labels and weights.
        raw: Columns to leave as they are, for transforms.
    """

    def __init__(
        self,
        split: Split,
        groups: Sequence[InputGroup],
        targets: Mapping[str, LabelInfo],
        weight: str | None,
        floats: torch.dtype,
        raw: Sequence[str] = (),
    ) -> None:
        self._groups = tuple(groups)
        self._targets = dict(targets)
        self._weight = weight
        self._floats = np.dtype(_NUMPY[floats])
        names = [column.name for group in groups for column in group.columns]
        self._raw = tuple(raw)
        self._columns = list(dict.fromkeys([*names, *raw, *targets, *([] if weight is None else [weight])]))
        self._stored = {name: split.source.column(name) for name in self._columns}
        self._ids = {
            (group.name, column.name): run_ids(self._stored[column.name].vocabulary, column)
            for group in groups
            for column in group.columns
            if isinstance(column, CategoricalColumn)
        }
        self._labels = {
            name: _label_table(self._stored[name], label)
            for name, label in targets.items()
            if label.classes is not None
        }

    @property
    def columns(self) -> list[str]:
        """Names of the columns that :meth:`decode` needs."""
        return list(self._columns)

    def decode(self, table: pa.Table) -> Decoded:
        """The rows of a block as tensors.

        Args:
            table: What :meth:`distmtl.data.source.Split.read_block` returned for :attr:`columns`.
        """
        return Decoded(
            inputs={group.name: self._input(group, table) for group in self._groups},
            targets={name: self._target(name, label, table) for name, label in self._targets.items()},
            weights=None if self._weight is None else self._row_weights(self._weight, table),
            raw={name: self._raw_column(name, table) for name in self._raw},
        )

    def _raw_column(self, name: str, table: pa.Table) -> Any:
        stored = self._stored[name]
        if stored.kind == "tensor":
            return torch.from_numpy(_writable(table[name], np.dtype(stored.dtype), stored.shape))
        if stored.kind == "numeric":
            values = np.empty(table.num_rows, np.float64)
            _fill_floats(values, table[name])
            return torch.from_numpy(values)
        if stored.kind == "categorical":
            return torch.from_numpy(_values(table[name]).astype(np.int32))
        return _one_chunk(table[name])

    def _input(self, group: InputGroup, table: pa.Table) -> Tensor:
        names = [column.name for column in group.columns]
        if group.kind == "tensor":
            stored = self._stored[names[0]]
            return torch.from_numpy(_writable(table[names[0]], np.dtype(stored.dtype), stored.shape))
        shape = (len(names), table.num_rows)
        if group.kind == "numeric":
            numbers = np.empty(shape, self._floats)
            for row, name in zip(numbers, names, strict=True):
                _fill_floats(row, table[name])
            return torch.from_numpy(numbers).t().contiguous()
        ids = np.empty(shape, np.int64)
        for row, name in zip(ids, names, strict=True):
            np.take(self._ids[group.name, name], _values(table[name]), out=row)
        return torch.from_numpy(ids).t().contiguous()

    def _target(self, name: str, label: LabelInfo, table: pa.Table) -> Tensor:
        if label.classes is not None:
            return torch.from_numpy(self._labels[name][_values(table[name])])
        values = self._floats_of(name, table)
        if label.class_counts is not None:
            # NaN compares false, and so stays NaN.
            values[(values < 0) | (values >= len(label.class_counts)) | (values != np.floor(values))] = np.nan
        return torch.from_numpy(values)

    def _row_weights(self, name: str, table: pa.Table) -> Tensor:
        values = self._floats_of(name, table)
        values[np.isnan(values)] = 0.0
        return torch.from_numpy(values)

    def _floats_of(self, name: str, table: pa.Table) -> npt.NDArray[Any]:
        values = np.empty(table.num_rows, self._floats)
        _fill_floats(values, table[name])
        return values


def _label_table(stored: Column, label: LabelInfo) -> npt.NDArray[np.int64]:
    """The class index of each id of the source, -1 for null and unknown."""
    classes = {word: i for i, word in enumerate(label.classes or ())}
    return np.array([-1] * FIRST_ID + [classes.get(word, -1) for word in stored.vocabulary], np.int64)


def _fill_floats(out: npt.NDArray[Any], column: pa.ChunkedArray) -> None:
    """Copy a numeric column into ``out [N]``, with NaN for null."""
    array = _one_chunk(column)
    with np.errstate(over="ignore"):  # float64 beyond the range of float32 is infinite there
        np.copyto(out, _values(array), casting="unsafe")
    if array.null_count:
        bits = np.frombuffer(array.buffers()[0], np.uint8)
        valid = np.unpackbits(bits, bitorder="little")[array.offset : array.offset + len(array)]
        out[valid == 0] = np.nan


def _values(column: Any) -> npt.NDArray[Any]:
    """The numbers of a column ``[N]`` without a copy; those of nulls are undefined."""
    array = _one_chunk(column)
    numbers: npt.NDArray[Any] = np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype())
    return numbers[array.offset : array.offset + len(array)]


def _one_chunk(column: Any) -> Any:
    if not isinstance(column, pa.ChunkedArray):
        return column
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _writable(column: pa.ChunkedArray, dtype: np.dtype[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """The rows ``[N, *shape]`` of a tensor column without a copy.

    Arrow calls its buffers read-only and torch refuses such arrays. Nobody else sees the buffers of a decoded block.
    """
    array = _one_chunk(column)
    return np.asarray(_Rows(array, dtype, (len(array), *shape)))


class _Rows:
    """Offers an Arrow buffer to NumPy as writable memory, and keeps it alive."""

    def __init__(self, array: Any, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._buffer = array.buffers()[1]
        address = self._buffer.address + array.offset * array.type.byte_width
        self.__array_interface__ = {"data": (address, False), "shape": shape, "typestr": dtype.str, "version": 3}
