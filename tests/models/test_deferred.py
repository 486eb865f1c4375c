"""A trunk whose parameters get their memory later has the values of one that was built whole."""

import torch
from torch import nn

from distmtl.features import InputGroup, NumericColumn
from distmtl.models.build import build_model
from distmtl.models.deferred import Deferred, can_be_deferred, without_memory
from distmtl.models.specs import HardSharingSpec, TabularMlpSpec

COLUMNS = tuple(NumericColumn(f"x{i}", 0.0, 1.0, -3.0, 3.0, 0.0, (-3.0, -1.0, 0.0, 1.0, 3.0)) for i in range(3))
GROUPS = [InputGroup("dense", "numeric", COLUMNS)]
SPEC = HardSharingSpec(trunk=TabularMlpSpec(hidden=(8, 4)))


def test_values_are_those_of_a_trunk_built_whole() -> None:
    whole = build_model(SPEC, GROUPS, {"a": 1}, seed=5)
    shell = build_model(SPEC, GROUPS, {"a": 1}, seed=5, defer=True)
    assert all(parameter.is_meta for parameter in shell.trunk.parameters())
    assert not any(parameter.is_meta for parameter in shell.private.parameters())
    Deferred(shell.trunk, 5).fill(shell.trunk, torch.device("cpu"), lambda target, full, _: target.copy_(full))
    expected = whole.state_dict()
    assert shell.state_dict().keys() == expected.keys()
    for name, value in shell.state_dict().items():
        assert torch.equal(value, expected[name]), name


def test_nothing_is_left_of_it_outside_the_block() -> None:
    with without_memory():
        assert nn.Linear(2, 2).weight.is_meta
    assert not nn.Linear(2, 2).weight.is_meta


def test_a_module_that_cannot_draw_its_values_again_is_built_whole() -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))

    assert can_be_deferred(nn.Sequential(nn.Linear(2, 2), nn.ReLU()))
    assert not can_be_deferred(nn.Sequential(nn.Linear(2, 2), Bare()))
