"""Planning: who writes what, and whether boxes fill a tensor."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from distmtl.checkpoint.layout import ALIGN_BYTES, DTYPES, Box, TensorSpec, covers, deal, place, whole

SPECS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.builds(
        TensorSpec, st.sampled_from(["float32", "bool", "float64"]), st.lists(st.integers(0, 40), max_size=3).map(tuple)
    ),
    max_size=6,
)


@given(SPECS, st.integers(1, 9), st.sampled_from([1, 64, 10**6]))
def test_every_byte_is_dealt_to_one_rank(specs: dict[str, TensorSpec], ranks: int, split_bytes: int) -> None:
    shares = deal(specs, ranks, split_bytes)
    assert len(shares) == ranks
    assert shares == deal(dict(reversed(specs.items())), ranks, split_bytes)
    for name, spec in specs.items():
        pieces = [piece for share in shares for piece in share if piece.name == name]
        assert covers(spec.shape, [piece.box for piece in pieces])
        assert sum(piece.size_bytes for piece in pieces) == spec.total_bytes
        assert all(piece.size_bytes == piece.box.items * spec.item_bytes > 0 for piece in pieces)


def test_one_large_table_is_spread_evenly() -> None:
    specs = {"table": TensorSpec("float32", (2**20, 128)), "moment": TensorSpec("float32", (2**20, 128))}
    specs |= {f"layer{n}": TensorSpec("float32", (256, 256)) for n in range(20)}
    for ranks in (2, 8, 32):
        loads = [sum(piece.size_bytes for piece in share) for share in deal(specs, ranks)]
        assert max(loads) / (sum(loads) / ranks) < 1.1


def test_one_rank_cuts_nothing() -> None:
    assert [piece.box for piece in deal({"a": TensorSpec("float32", (1000, 10))}, 1, 16)[0]] == [whole((1000, 10))]


@given(SPECS)
def test_pieces_are_aligned_and_do_not_overlap(specs: dict[str, TensorSpec]) -> None:
    end = 0
    for item in place(deal(specs, 1)[0]):
        assert item.start % ALIGN_BYTES == 0
        assert end <= item.start < end + ALIGN_BYTES
        end = item.start + item.piece.size_bytes


@given(st.lists(st.integers(0, 4), max_size=3), st.data())
def test_covers_agrees_with_counting(shape: list[int], data: st.DataObject) -> None:
    box = st.builds(
        Box,
        st.tuples(*(st.integers(0, 4) for _ in shape)),
        st.tuples(*(st.integers(0, 4) for _ in shape)),
    )
    boxes = data.draw(st.lists(box, max_size=3)) + data.draw(st.sampled_from([[], [whole(shape)]]))
    counted = torch.zeros([9] * len(shape), dtype=torch.int64)
    for one in boxes:
        counted[one.slices()] += 1
    expected = torch.zeros([9] * len(shape), dtype=torch.int64)
    expected[whole(shape).slices()] = 1
    items = math.prod(shape)
    assert covers(shape, boxes) == bool((counted == expected).all()) or items == 0


def test_dtypes_have_the_size_that_torch_says() -> None:
    for name, dtype in DTYPES.items():
        assert TensorSpec(name, (3,)).total_bytes == 3 * torch.empty(0, dtype=dtype).element_size()
