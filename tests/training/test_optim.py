import pytest
import torch
from torch import nn

from distmtl.errors import CheckpointError
from distmtl.models.base import MultiTaskModel
from distmtl.training.optim import build_optimizer, load_optimizer_tensors, optimizer_tensors, set_rate
from distmtl.training.specs import AdamWSpec, LinearSpec, SgdSpec


def model() -> MultiTaskModel:
    trunk = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    return MultiTaskModel(trunk, {"a": nn.Linear(4, 1), "b": nn.Linear(4, 2)})


def rates(spec: AdamWSpec) -> dict[str, tuple[float, float]]:
    net = model()
    names = {parameter: name for name, parameter in net.named_parameters()}
    groups = build_optimizer(spec, net).param_groups
    return {names[p]: (group["lr"], group["weight_decay"]) for group in groups for p in group["params"]}


def test_groups_by_part_and_shape() -> None:
    found = rates(AdamWSpec(lr=0.1, private_lr=0.2, weight_decay=0.3))
    assert found["trunk.0.weight"] == (0.1, 0.3)
    assert found["trunk.0.bias"] == found["trunk.1.weight"] == (0.1, 0.0)
    assert found["private.a.weight"] == found["private.b.weight"] == (0.2, 0.3)
    assert found["private.a.bias"] == (0.2, 0.0)
    assert len(found) == len(list(model().parameters()))


def test_norms_and_biases_decay_if_asked() -> None:
    assert {decay for _, decay in rates(AdamWSpec(weight_decay=0.3, decay_norms_and_biases=True)).values()} == {0.3}


def test_frozen_parameters_are_left_out() -> None:
    net = model()
    net.trunk.requires_grad_(False)
    count = sum(len(group["params"]) for group in build_optimizer(AdamWSpec(), net).param_groups)
    assert count == 4


def test_every_group_follows_the_schedule() -> None:
    optimizer = build_optimizer(AdamWSpec(lr=0.1, private_lr=0.2, schedule=LinearSpec()), model())
    spec = AdamWSpec(lr=0.1, private_lr=0.2, schedule=LinearSpec())
    assert set_rate(optimizer, spec, 5, 10) == pytest.approx(0.05)
    assert {round(group["lr"], 9) for group in optimizer.param_groups} == {0.05, 0.1}


@pytest.mark.parametrize("spec", [AdamWSpec(lr=0.1), SgdSpec(lr=0.1, momentum=0.9)])
def test_state_survives_by_name(spec: AdamWSpec | SgdSpec) -> None:
    torch.manual_seed(0)
    first = model()
    second = model()
    second.load_state_dict(first.state_dict())
    inputs = torch.randn(8, 3)

    def step(net: MultiTaskModel, optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        net(inputs)["a"].square().sum().backward()  # head b is idle
        optimizer.step()

    one = build_optimizer(spec, first)
    step(first, one)
    saved = {name: tensor.clone() for name, tensor in optimizer_tensors(one, first).items()}
    assert not any(name.startswith("private.b") for name in saved)
    two = build_optimizer(spec, second)
    second.load_state_dict(first.state_dict())
    load_optimizer_tensors(two, second, saved)
    step(first, one)
    step(second, two)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(CheckpointError, match=r"'trunk\.9\.weight'"):
        load_optimizer_tensors(build_optimizer(SgdSpec(), model()), model(), {"trunk.9.weight.step": torch.ones(1)})
