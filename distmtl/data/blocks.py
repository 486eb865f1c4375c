"""What the loader reads: sources, their decoded blocks, and how columns of rows are put together."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Lock
from typing import Any, Protocol

import pyarrow as pa
import torch
from torch import Tensor

from distmtl.data.decode import Decoded
from distmtl.data.plan import Blocks
from distmtl.data.transformed import SourceTransform


class BlockSplit(Blocks, Protocol):
    """The blocks of a packed split; :class:`distmtl.data.source.Split` is one."""

    def read_block(self, index: int, columns: Sequence[str]) -> Any:
        """Columns of a block as a ``pyarrow.Table``. Called from several threads."""
        ...


class BlockDecoder(Protocol):
    """Turns blocks into tensors; :class:`distmtl.data.decode.Decoder` is one."""

    @property
    def columns(self) -> list[str]:
        """Names of the columns that it needs."""
        ...

    def decode(self, table: Any) -> Decoded:
        """The rows of a block, in its order. Called from several threads."""
        ...


@dataclass(frozen=True)
class LoaderSource:
    """A source as the loader reads it; ``transform`` makes its inputs of what the decoder leaves raw."""

    name: str
    split: BlockSplit
    decoder: BlockDecoder
    transform: SourceTransform | None = None


def combine(parts: Sequence[Decoded], function: Callable[[list[Any]], Any]) -> Decoded:
    """Apply a function to each column of several parts of one source: ``combine(parts, join)`` joins them.

    The function takes lists of tensors; where there are raw columns of text or bytes, lists of Arrow arrays too.
    """
    first = parts[0]
    weights = [part.weights for part in parts if part.weights is not None]
    return Decoded(
        inputs={name: function([part.inputs[name] for part in parts]) for name in first.inputs},
        targets={name: function([part.targets[name] for part in parts]) for name in first.targets},
        weights=function(weights) if weights else None,
        raw={name: function([part.raw[name] for part in parts]) for name in first.raw},
    )


def join(columns: Sequence[Any]) -> Any:
    """The rows of several parts of a column, one after the other."""
    return torch.cat(list(columns)) if isinstance(columns[0], Tensor) else pa.concat_arrays(columns)


def slice_rows(columns: Decoded, start: int, stop: int) -> Decoded:
    """A view of the rows ``start..stop``."""
    return combine([columns], lambda parts: parts[0][start:stop])


def every_column(columns: Decoded) -> tuple[Any, ...]:
    """All columns, in the order in which :func:`combine` meets them."""
    weights = () if columns.weights is None else (columns.weights,)
    return (*columns.inputs.values(), *columns.targets.values(), *weights, *columns.raw.values())


def bytes_of(columns: Decoded) -> int:
    """Bytes of all columns."""
    return sum(column.nbytes for column in every_column(columns))


class BlockCache:
    """Decoded blocks by source and number. Each is read once however many threads ask; the stalest leave first.

    A block whose rows a lane takes whole is nobody else's: :meth:`drop` makes room for those that lanes share.
    """

    def __init__(self, sources: Sequence[LoaderSource], limit_bytes: int) -> None:
        self._sources = sources
        self._limit_bytes = limit_bytes
        self._bytes = 0
        self._blocks: OrderedDict[tuple[int, int], Future[Decoded]] = OrderedDict()
        self._lock = Lock()

    def get(self, source: int, block: int) -> Decoded:
        """A block; raises what reading or decoding it raises."""
        place = source, block
        with self._lock:
            future = self._blocks.get(place)
            absent = future is None
            if future is None:
                future = self._blocks[place] = Future()
            self._blocks.move_to_end(place)
        if absent:
            self._fill(place, future)
        return future.result()

    def drop(self, source: int, block: int) -> None:
        """Forget a block that is read."""
        with self._lock:
            future = self._blocks.get((source, block))
            if future is not None and future.done():
                del self._blocks[source, block]
                self._bytes -= bytes_of(future.result())

    def _fill(self, place: tuple[int, int], future: Future[Decoded]) -> None:
        source = self._sources[place[0]]
        try:
            decoded = source.decoder.decode(source.split.read_block(place[1], source.decoder.columns))
        except BaseException as error:
            with self._lock:
                del self._blocks[place]  # whoever asks later tries again
            future.set_exception(error)
            return
        with self._lock:
            self._bytes += bytes_of(decoded)
            future.set_result(decoded)
            for other in [key for key, block in self._blocks.items() if block.done()]:
                if self._bytes <= self._limit_bytes:
                    break
                self._bytes -= bytes_of(self._blocks.pop(other).result())
