"""Packing rows into bins, and getting them back."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distmtl.models.sequence_packing import pack_rows

LENGTHS = st.lists(st.integers(0, 12), max_size=30)


@given(LENGTHS)
def test_every_token_lies_in_one_place_and_comes_back(lengths: list[int]) -> None:
    count, longest = len(lengths), 12
    packed = pack_rows(torch.tensor(lengths, dtype=torch.int64), longest)
    values = torch.arange(count * longest * 2, dtype=torch.float32).view(count, longest, 2) + 1
    has = torch.arange(longest) < torch.tensor(lengths, dtype=torch.int64).view(-1, 1)
    bins = packed.gather(values, -1)
    assert bins.shape == (*packed.segments.shape, 2)
    assert (packed.segments >= 0).sum() == sum(lengths)
    assert (bins[packed.segments < 0] == -1).all()
    assert torch.equal(packed.scatter(bins, longest), values * has[..., None])
    for row, length in enumerate(lengths):
        where = (packed.segments == row).nonzero()
        assert len(where) == length
        if length:
            assert len(where[:, 0].unique()) == 1  # a row lies in one bin, from left to right
            assert packed.positions[where[:, 0], where[:, 1]].tolist() == list(range(length))


@given(LENGTHS)
def test_few_bins_are_needed(lengths: list[int]) -> None:
    packed = pack_rows(torch.tensor(lengths, dtype=torch.int64), 12)
    least = -(-sum(lengths) // 12)
    assert packed.segments.shape[0] <= max(1, 2 * least)  # two bins that are half empty would share one
    sizes = sorted(lengths, reverse=True)
    room: list[int] = []
    for size in filter(None, sizes):
        place = next((i for i, left in enumerate(room) if left >= size), len(room))
        room[place:] = [12 - size] if place == len(room) else [room[place] - size, *room[place + 1 :]]
    assert packed.segments.shape[0] == max(1, len(room))


def test_attention_sees_its_own_row_alone() -> None:
    torch.manual_seed(0)
    lengths = torch.tensor([3, 7, 0, 2, 5, 1])
    values = torch.randn(6, 7, 8, dtype=torch.float64)
    attention = nn.MultiheadAttention(8, 2, batch_first=True, dtype=torch.float64)
    packed = pack_rows(lengths, 7)
    assert packed.segments.shape[0] < 5
    bins = packed.gather(values, 0.0)
    # A place without a token sees itself, since a softmax over nothing is not a number.
    blocked = ~(packed.attention_mask() | torch.eye(7, dtype=torch.bool)).repeat_interleave(2, 0)
    found = packed.scatter(attention(bins, bins, bins, attn_mask=blocked, need_weights=False)[0], 7)
    for row, length in enumerate(lengths.tolist()):
        alone = values[row : row + 1, :length]
        if length:
            expected = attention(alone, alone, alone, need_weights=False)[0][0]
            torch.testing.assert_close(found[row, :length], expected)
        assert not found[row, length:].any()


def test_gradients_flow_through() -> None:
    packed = pack_rows(torch.tensor([2, 1]), 3)
    values = torch.randn(2, 3, 1, requires_grad=True)
    packed.scatter(2 * packed.gather(values, 0.0), 3).sum().backward()
    assert values.grad is not None
    assert values.grad[..., 0].tolist() == [[2, 2, 0], [2, 0, 0]]


def test_a_row_that_is_too_long() -> None:
    with pytest.raises(ValueError, match="a row of 4 tokens does not fit into a bin of 3"):
        pack_rows(torch.tensor([4]), 3)
