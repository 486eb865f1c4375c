from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distmtl.errors import ConfigError
from distmtl.features import InputGroup
from distmtl.models.base import MultiTaskModel
from distmtl.models.build import build_model
from distmtl.models.dropout import KeyedDropout, row_keys
from distmtl.models.init import stable_seed
from distmtl.models.specs import HardSharingSpec, MlpHeadSpec, TabularMlpSpec
from distmtl.spec import CustomSpec
from tests.models.columns import GROUPS, inputs

TASKS = {"income": 1, "married": 1, "job": 5}
SPEC = HardSharingSpec(trunk=TabularMlpSpec(hidden=(16, 8), bins=8, numeric_width=3), head=MlpHeadSpec(hidden=(4,)))


class SumTrunk(nn.Module):
    """A user's trunk with random and "pretrained" values."""

    def __init__(self, groups: tuple[InputGroup, ...], width: int) -> None:
        super().__init__()
        self.width = width
        self.pretrained = nn.Linear(2, width)
        nn.init.constant_(self.pretrained.weight, 0.5)
        self.scale = nn.Parameter(torch.randn(width))

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        projected: Tensor = self.pretrained(batch["dense"].nan_to_num())
        return projected * self.scale


class BiasHead(nn.Module):
    """A user's head."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.randn(outputs))

    def forward(self, features: Tensor) -> Tensor:
        return self.bias.expand(len(features), -1)


def widthless(groups: tuple[InputGroup, ...]) -> nn.Module:
    return nn.Identity()


def no_module(*args: Any) -> int:
    return 3


def custom(name: str, **args: Any) -> CustomSpec:
    return CustomSpec(target=f"{__name__}:{name}", args=args)


def values(model: nn.Module) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


def assert_same(some: dict[str, Tensor], others: dict[str, Tensor]) -> None:
    for name, value in some.items():
        assert torch.equal(value, others[name]), name


@pytest.mark.parametrize("numeric", ["standard", "piecewise"])
def test_every_task_gets_its_outputs(numeric: Any) -> None:
    spec = SPEC.model_copy(update={"trunk": TabularMlpSpec(hidden=(16, 8), numeric=numeric)})
    outputs = build_model(spec, GROUPS, TASKS, seed=0)(inputs(7))
    assert {name: tuple(out.shape) for name, out in outputs.items()} == {n: (7, w) for n, w in TASKS.items()}
    assert all(out.isfinite().all() for out in outputs.values())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_the_caller_chooses_the_type(dtype: torch.dtype) -> None:
    model = build_model(SPEC, GROUPS, TASKS, seed=0).to(dtype)
    assert all(out.dtype == dtype for out in model(inputs(3)).values())


def test_it_runs_under_autocast_without_rows_and_backward() -> None:
    model = build_model(SPEC, GROUPS, TASKS, seed=0)
    for rows in (5, 0):
        with torch.autocast("cpu", torch.bfloat16):
            sum(out.float().sum() for out in model(inputs(rows)).values()).backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_a_source_without_a_group_still_fits_the_trunk() -> None:
    model = build_model(SPEC, GROUPS, TASKS, seed=0)
    whole = inputs(4)
    for name in whole:
        outputs = model({k: v for k, v in whole.items() if k != name})
        assert all(out.shape[0] == 4 and out.isfinite().all() for out in outputs.values())


@given(st.permutations(["income", "married", "job", "hours"]), st.integers(1, 4), st.integers(0, 2**63 - 1))
@settings(max_examples=20, deadline=None)
def test_initial_values_do_not_depend_on_the_other_tasks(names: list[str], count: int, seed: int) -> None:
    everything = values(build_model(SPEC, GROUPS, dict.fromkeys(names, 2), seed))
    assert_same(values(build_model(SPEC, GROUPS, dict.fromkeys(names[:count], 2), seed)), everything)


def test_initial_values_depend_on_the_seed_and_the_name_alone() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = values(build_model(SPEC, GROUPS, TASKS, seed=3))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    assert_same(first, values(build_model(SPEC, GROUPS, TASKS, seed=3)))
    other = values(build_model(SPEC, GROUPS, TASKS, seed=4))
    assert not torch.equal(first["trunk.layers.0.weight"], other["trunk.layers.0.weight"])
    assert not torch.equal(first["private.income.out.weight"], first["private.married.out.weight"])


def test_seeds_are_the_same_in_every_process() -> None:
    assert stable_seed(3, "init", "trunk") == 5325620700576264548
    assert len({stable_seed(1, "23"), stable_seed(12, "3"), stable_seed("1", "2", "3")}) == 3


def test_a_deeper_layer_does_not_draw_from_the_generator_of_a_former_one() -> None:
    short = HardSharingSpec(trunk=TabularMlpSpec(hidden=(16,)))
    long = HardSharingSpec(trunk=TabularMlpSpec(hidden=(16, 8)))
    assert_same(values(build_model(short, GROUPS, {}, 0)), values(build_model(long, GROUPS, {}, 0)))


def test_initial_values_are_those_of_torch_layers() -> None:
    weight = values(build_model(HardSharingSpec(), GROUPS, TASKS, seed=0))["trunk.layers.0.weight"]
    bound = weight.shape[1] ** -0.5
    assert float(weight.abs().max()) <= bound
    assert float(weight.std()) == pytest.approx(bound / 3**0.5, rel=0.02)


def test_custom_parts_keep_what_they_loaded_and_draw_by_their_name() -> None:
    spec = HardSharingSpec(trunk=custom("SumTrunk", width=6), heads={"job": custom("BiasHead")})
    model = build_model(spec, GROUPS, TASKS, seed=0)
    assert (values(model)["trunk.pretrained.weight"] == 0.5).all()
    fewer = build_model(spec, GROUPS, {"job": 5, "new": 1}, seed=0)
    for name in ("trunk.scale", "private.job.bias"):
        assert torch.equal(values(model)[name], values(fewer)[name])
    assert model(inputs(4))["job"].shape == (4, 5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (HardSharingSpec(trunk=custom("widthless")), "has no integer attribute 'width'"),
        (HardSharingSpec(trunk=custom("no_module")), "returned int, not a torch.nn.Module"),
        (HardSharingSpec(head=custom("no_module")), "returned int, not a torch.nn.Module"),
        (HardSharingSpec(trunk=custom("SumTrunk")), "does not take these arguments"),
        (HardSharingSpec(heads={"incme": MlpHeadSpec()}), r"model\.heads: there is no task 'incme'"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(spec: HardSharingSpec, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build_model(spec, GROUPS, TASKS, seed=0)


@pytest.mark.parametrize("name", ["a.b", "values", "type", "training"])
def test_a_name_that_torch_needs_cannot_name_a_task(name: str) -> None:
    with pytest.raises(ConfigError, match=f"tasks.{name}: '{name}' cannot name a task"):
        build_model(SPEC, GROUPS, {name: 1}, seed=0)


def trained(model: MultiTaskModel, rows: int, parts: int) -> dict[str, Tensor]:
    """Gradients of one step over ``rows`` rows, cut into parts."""
    model.zero_grad()
    whole = inputs(rows)
    for positions in torch.arange(rows).tensor_split(parts):
        with row_keys(1, 2, positions):
            outputs = model({name: values[positions] for name, values in whole.items()})
        sum(out.square().sum() for out in outputs.values()).backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def test_dropout_of_trunk_and_heads_does_not_depend_on_the_cut_into_parts() -> None:
    spec = HardSharingSpec(
        trunk=TabularMlpSpec(hidden=(16, 8), dropout=0.3), head=MlpHeadSpec(hidden=(8,), dropout=0.2)
    )
    model = build_model(spec, GROUPS, TASKS, seed=0).double()
    names = [m.name for m in model.modules() if isinstance(m, KeyedDropout)]
    assert names == ["trunk.layers.2", "trunk.layers.5", *(f"private.{task}.layers.2" for task in TASKS)]
    whole = trained(model, 24, 1)
    for parts in (2, 5):
        torch.testing.assert_close(trained(model, 24, parts), whole, rtol=1e-12, atol=1e-12)


def test_a_model_restored_elsewhere_needs_only_the_groups_names_and_values() -> None:
    model = build_model(SPEC, GROUPS, TASKS, seed=0)
    restored = build_model(SPEC, GROUPS, TASKS, seed=9)
    restored.load_state_dict(model.state_dict())
    for name, out in model(inputs(5)).items():
        assert torch.equal(out, restored(inputs(5))[name])
