import math

import pytest
import torch
from torch import Tensor, nn

from distmtl.errors import DistmtlError
from distmtl.models.dropout import KeyedDropout, name_dropouts, row_keys, row_subset


def mask(p: float, positions: Tensor, width: int, *, seed: int = 0, step: int = 0, name: str = "") -> Tensor:
    """Which features are kept ``[N, width]``, as 0.0 and 1.0."""
    with row_keys(seed, step, positions):
        thinned: Tensor = KeyedDropout(p, name)(torch.ones(len(positions), width, dtype=torch.float64))
    return (thinned > 0).double()


def test_a_mask_belongs_to_the_row_wherever_it_is_computed() -> None:
    whole = mask(0.3, torch.arange(64), 32)
    order = torch.randperm(64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(mask(0.3, order, 32), whole[order])
    assert torch.equal(torch.cat([mask(0.3, part, 32) for part in torch.arange(64).split(7)]), whole)
    assert torch.equal(mask(0.3, torch.arange(64), 16), whole[:, :16])


def test_masks_are_pinned() -> None:
    """A checkpoint of today must go on the same tomorrow; change the expected value only with the run format."""
    bits = mask(0.5, torch.tensor([0, 1, 10**12]), 12, seed=7, step=3, name="trunk.layers.2").int().tolist()
    assert ["".join(map(str, row)) for row in bits] == ["101111101100", "011011010011", "101110000001"]


@pytest.mark.parametrize("change", [{"seed": 1}, {"step": 1}, {"name": "other"}])
def test_another_seed_step_or_module_gives_an_unrelated_mask(change: dict[str, int]) -> None:
    one, other = mask(0.5, torch.arange(256), 256), mask(0.5, torch.arange(256), 256, **change)  # type: ignore[arg-type]
    assert abs(float((one == other).double().mean()) - 0.5) < 5 * 0.5 / 256


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5, 0.9])
def test_features_are_dropped_with_the_given_probability(p: float) -> None:
    dropped = 1.0 - mask(p, torch.arange(4096), 256)
    spread = math.sqrt(p * (1 - p))
    assert abs(float(dropped.mean()) - p) < 5 * spread / math.sqrt(dropped.numel())
    for axis in (0, 1):
        deviations = (dropped.mean(axis) - p) * math.sqrt(dropped.shape[axis]) / spread
        assert float(deviations.abs().max()) < 6.0
        assert abs(float(deviations.square().mean()) - 1.0) < 6 * math.sqrt(2 / len(deviations))


def test_masks_of_rows_and_features_are_independent() -> None:
    signs = 2.0 * mask(0.5, torch.arange(1024), 512) - 1.0
    for products in (signs @ signs.T / math.sqrt(512), signs.T @ signs / math.sqrt(1024)):
        off = products[~torch.eye(len(products), dtype=torch.bool)]
        assert float(off.abs().max()) < 6.5
        assert abs(float(off.square().mean()) - 1.0) < 0.05


def test_no_parity_of_two_rows_and_two_features_survives_the_mixing() -> None:
    """Row and feature hashes meet in an exclusive or, whose own bits would cancel out around such a square."""
    signs = 2.0 * mask(0.5, torch.arange(1024), 1024) - 1.0
    squares = signs[0::2] * signs[1::2]
    squares = squares[:, 0::2] * squares[:, 1::2]
    assert abs(float(squares.mean())) < 5 / math.sqrt(squares.numel())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_kept_features_are_scaled_and_keep_their_type(dtype: torch.dtype) -> None:
    features = torch.full((8, 6, 4), 3.0, dtype=dtype, requires_grad=True)
    with row_keys(0, 0, torch.arange(8)):
        thinned = KeyedDropout(0.25)(features)
    thinned.sum().backward()
    assert thinned.dtype == dtype
    assert features.grad is not None
    assert torch.equal(features.grad * 3.0, thinned)
    assert set(thinned.flatten().tolist()) == {0.0, 4.0}


def test_it_is_the_identity_in_evaluation_and_without_rows_nothing() -> None:
    features = torch.randn(4, 3)
    assert KeyedDropout(0.5).eval()(features) is features
    assert KeyedDropout(0.0)(features) is features
    with row_keys(0, 0, torch.arange(0)):
        assert KeyedDropout(0.5)(torch.empty(0, 3)).shape == (0, 3)


def test_training_needs_the_keys_of_exactly_these_rows() -> None:
    with pytest.raises(
        DistmtlError, match=r"sees 4 rows and was given keys of none.*row_keys\(seed, step, positions\)"
    ):
        KeyedDropout(0.5, "trunk.layers.2")(torch.randn(4, 3))
    with row_keys(0, 0, torch.arange(5)), pytest.raises(DistmtlError, match="sees 4 rows and was given keys of 5 rows"):
        KeyedDropout(0.5)(torch.randn(4, 3))


def test_a_subset_of_the_rows_keeps_their_masks() -> None:
    dropout, features = KeyedDropout(0.5), torch.ones(10, 8)
    with row_keys(0, 0, torch.arange(100, 110)):
        whole = dropout(features)
        with row_subset(slice(3, 6)):
            assert torch.equal(dropout(features[3:6]), whole[3:6])
            with row_subset(None):
                assert torch.equal(dropout(features[3:6]), whole[3:6])
        assert torch.equal(dropout(features), whole)
    with row_subset(slice(0, 1)):
        assert dropout.eval()(features) is features


def test_dropouts_are_named_by_their_place() -> None:
    model = nn.Sequential(nn.Sequential(KeyedDropout(0.5)), KeyedDropout(0.5))
    name_dropouts(model)
    assert [m.name for m in model.modules() if isinstance(m, KeyedDropout)] == ["0.0", "1"]
