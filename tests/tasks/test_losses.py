import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec
from distmtl.tasks.losses import balanced_weights
from distmtl.tasks.specs import BceSpec, CrossEntropySpec, HuberSpec, LossSpec, MaeSpec, MseSpec
from tests.tasks.labels import task


def cubic(output: Tensor, target: Tensor, scale: float = 1.0) -> Tensor:
    """A user's loss; it would rather not see a NaN."""
    assert not target.is_floating_point() or target.isfinite().all()
    return scale * (output[:, 0] - target).abs() ** 3


class Focal:
    """A user's loss with a state of its own."""

    def __init__(self, gamma: float) -> None:
        self.gamma = gamma

    def __call__(self, output: Tensor, target: Tensor) -> Tensor:
        nll = F.cross_entropy(output, target, reduction="none")
        return (1.0 - torch.exp(-nll)) ** self.gamma * nll


def mean_loss(output: Tensor, target: Tensor) -> Tensor:
    return (output[:, 0] - target).square().mean()


def custom(name: str, **args: object) -> CustomSpec:
    return CustomSpec(target=f"{__name__}:{name}", args=args)


LOSSES: list[tuple[str, LossSpec]] = [
    ("binary", BceSpec()),
    ("binary", BceSpec(imbalance="balanced")),
    ("binary", custom("cubic")),
    ("multiclass", CrossEntropySpec()),
    ("multiclass", CrossEntropySpec(imbalance="balanced", label_smoothing=0.1)),
    ("multiclass", custom("Focal", gamma=2.0)),
    ("regression", MseSpec()),
    ("regression", MaeSpec()),
    ("regression", HuberSpec(delta=0.5)),
    ("regression", custom("cubic", scale=2.0)),
]


def some_targets(kind: str, rows: int) -> Tensor:
    if kind == "regression":
        return torch.linspace(1.0, 99.0, rows)
    return (torch.arange(rows) % (2 if kind == "binary" else 3)).to(torch.float32 if kind == "binary" else torch.int64)


@pytest.mark.parametrize(("kind", "loss"), LOSSES, ids=lambda value: str(getattr(value, "kind", value)))
@given(
    missing=st.lists(st.booleans(), min_size=0, max_size=12), wild=st.sampled_from([0.0, 1e38, torch.nan, torch.inf])
)
@settings(max_examples=30, deadline=None)
def test_missing_labels_cost_nothing_and_others_do_not_notice(
    kind: str, loss: LossSpec, missing: list[bool], wild: float
) -> None:
    one, mask = task(kind, loss), torch.tensor(missing, dtype=torch.bool)
    complete = some_targets(kind, len(missing))
    target = complete.clone()
    target[mask] = torch.nan if target.is_floating_point() else -1
    output = torch.randn(len(missing), one.outputs, generator=torch.Generator().manual_seed(0))
    spoilt = torch.where(mask[:, None], wild, output).requires_grad_()

    losses = one.losses(spoilt, target)
    losses.sum().backward()

    assert torch.equal(one.valid(target), ~mask)
    assert losses.shape == mask.shape
    assert (losses[mask] == 0.0).all()
    assert spoilt.grad is not None
    assert (spoilt.grad[mask] == 0.0).all()
    assert spoilt.grad.isfinite().all()
    alone = output[~mask].clone().requires_grad_()
    expected = one.losses(alone, complete[~mask])
    expected.sum().backward()
    torch.testing.assert_close(losses[~mask], expected)
    torch.testing.assert_close(spoilt.grad[~mask], alone.grad)


@pytest.mark.parametrize(
    ("kind", "loss", "expected"),
    [
        ("binary", BceSpec(), lambda o, t: F.binary_cross_entropy_with_logits(o[:, 0], t)),
        ("multiclass", CrossEntropySpec(), F.cross_entropy),
        ("multiclass", CrossEntropySpec(label_smoothing=0.2), lambda o, t: F.cross_entropy(o, t, label_smoothing=0.2)),
        ("regression", MseSpec(), lambda o, t: F.mse_loss(o[:, 0], (t - 40.0) / 12.5)),
        ("regression", MaeSpec(), lambda o, t: F.l1_loss(o[:, 0], (t - 40.0) / 12.5)),
        ("regression", HuberSpec(delta=0.3), lambda o, t: F.huber_loss(o[:, 0], (t - 40.0) / 12.5, delta=0.3)),
    ],
)
def test_losses_are_the_well_known_ones(kind: str, loss: LossSpec, expected: object) -> None:
    one, target = task(kind, loss), some_targets(kind, 9)
    output = torch.randn(9, one.outputs, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(one.losses(output, target).mean(), expected(output, target))  # type: ignore[operator]


@given(st.lists(st.integers(1, 10**6), min_size=2, max_size=8))
def test_balanced_classes_have_equal_totals_and_mean_weight_one(counts: list[int]) -> None:
    weights = balanced_weights(tuple(counts))
    totals = [weight * count for weight, count in zip(weights, counts, strict=True)]
    assert totals == pytest.approx([totals[0]] * len(counts))
    assert sum(totals) / sum(counts) == pytest.approx(1.0)


def test_a_class_without_rows_does_not_count_among_the_classes() -> None:
    assert balanced_weights((6, 0, 2)) == pytest.approx((8 / 12, 1.0, 8 / 4))


def test_balancing_weighs_each_row_by_its_class() -> None:
    plain, balanced = task("binary", BceSpec()), task("binary", BceSpec(imbalance="balanced"))
    output, target = torch.randn(4, 1), torch.tensor([0.0, 1.0, 1.0, 0.0])
    weights = torch.tensor([10 / 14, 10 / 6, 10 / 6, 10 / 14])
    torch.testing.assert_close(balanced.losses(output, target), plain.losses(output, target) * weights)


def test_balancing_needs_class_counts() -> None:
    with pytest.raises(ConfigError, match="needs class counts, and column 'y' has none"):
        task("multiclass", CrossEntropySpec(imbalance="balanced"), class_counts=None)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_losses_of_half_precision_outputs_are_float32(dtype: torch.dtype) -> None:
    assert task("binary").losses(torch.zeros(2, 1, dtype=dtype), torch.tensor([0.0, torch.nan])).dtype == torch.float32


def test_losses_of_float64_outputs_are_float64() -> None:
    target = torch.tensor([40.0, 52.5], dtype=torch.float64)
    losses = task("regression").losses(torch.zeros(2, 1, dtype=torch.float64), target)
    assert losses.dtype == torch.float64
    assert losses.tolist() == [0.0, 1.0]


def test_a_large_mean_does_not_cost_digits() -> None:
    one = task("regression", mean=1e7, std=0.5)
    losses = one.losses(torch.zeros(1, 1), torch.tensor([1e7 + 1.0]))
    assert losses.tolist() == [4.0]


def test_a_custom_loss_must_return_one_number_per_row() -> None:
    one = task("regression", custom("mean_loss"))
    with pytest.raises(ConfigError, match=r"mean_loss' returned shape \(\) for 2 rows"):
        one.losses(torch.zeros(2, 1), torch.ones(2))


def test_a_custom_loss_must_take_the_arguments() -> None:
    with pytest.raises(ConfigError, match=r"cannot be called with \(output, target\)"):
        task("regression", custom("cubic", power=3))
    with pytest.raises(ConfigError, match="does not take these arguments"):
        task("multiclass", custom("Focal"))
