"""Several short rows of a padded batch in one long row, for trunks whose cost is that of the padding.

Rows stay rows: a label belongs to one, so packing is a matter between a trunk and its layers. The trunk packs what it
was given, runs layers that keep the texts of a bin apart (by ``segments``), and takes them apart again::

    packed = pack_rows(lengths, longest=ids.shape[1])
    hidden = layers(packed.gather(ids, 0), packed.segments, packed.positions)
    features = packed.scatter(hidden, ids.shape[1])  # [N, T, W], as if nothing had happened

Which rows share a bin changes with the worker and the micro-batch. A layer that keeps them apart computes each token
from its own row alone, so results agree up to the order of summation, as they do between other world sizes.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class PackedRows:
    """Where N rows of at most T tokens lie in B bins of L places.

    Attributes:
        segments: The row that each place holds a token of, -1 for none ``[B, L]`` int64.
        positions: The token's place in its row, 0 where there is none ``[B, L]`` int64.
        rows: Number of rows N.
    """

    segments: Tensor
    positions: Tensor
    rows: int

    def gather(self, values: Tensor, pad: float) -> Tensor:
        """Values of the rows ``[N, T, ...]`` in their bins ``[B, L, ...]``; places without a token hold ``pad``."""
        here = self.segments >= 0
        packed = values.new_full((*self.segments.shape, *values.shape[2:]), pad)
        packed[here] = values[self.segments[here], self.positions[here]]
        return packed

    def scatter(self, values: Tensor, width: int) -> Tensor:
        """Values in bins ``[B, L, ...]`` back in their rows ``[N, width, ...]``; 0 where a row has no token."""
        here = self.segments >= 0
        out = values.new_zeros((self.rows, width, *values.shape[2:]))
        return out.index_put((self.segments[here], self.positions[here]), values[here])

    def attention_mask(self) -> Tensor:
        """Which places may see each other: those of one row ``[B, L, L]`` bool."""
        return (self.segments[:, :, None] == self.segments[:, None]) & (self.segments >= 0)[:, None]


def pack_rows(lengths: Tensor, longest: int) -> PackedRows:
    """Put rows into bins of ``longest`` places, the longest first and each into the first bin with room for it.

    First-fit decreasing needs at most 11/9 of the fewest bins, and one more (Johnson 1973).

    Args:
        lengths: Tokens of each row ``[N]``, at most ``longest``; a row of none lies nowhere.
        longest: Places in a bin.

    Raises:
        ValueError: A row is longer than a bin.
    """
    counts = lengths.cpu().numpy()
    if counts.size and counts.max() > longest:
        raise ValueError(f"a row of {counts.max()} tokens does not fit into a bin of {longest}")
    bins, starts, room = _first_fit(counts, longest)
    segments = np.full((max(1, len(room)), longest), -1, np.int64)
    positions = np.zeros_like(segments)
    row = np.repeat(np.arange(len(counts)), counts)
    position = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)
    segments[bins[row], starts[row] + position] = row
    positions[bins[row], starts[row] + position] = position
    device = lengths.device
    return PackedRows(torch.from_numpy(segments).to(device), torch.from_numpy(positions).to(device), len(counts))


def _first_fit(counts: Int64, longest: int) -> tuple[Int64, Int64, list[int]]:
    """Bin and first place of each row, and the room left in each bin."""
    bins, starts = np.zeros(len(counts), np.int64), np.zeros(len(counts), np.int64)
    room: list[int] = []
    # Rows of one length come one after the other, so a bin that was too full for one is too full for the next.
    first, before = 0, -1
    for row in np.argsort(-counts, kind="stable").tolist():
        count = int(counts[row])
        if count == 0:
            break
        if count != before:
            first, before = 0, count
        while first < len(room) and room[first] < count:
            first += 1
        if first == len(room):
            room.append(longest)
        bins[row], starts[row] = first, longest - room[first]
        room[first] -= count
    return bins, starts, room
