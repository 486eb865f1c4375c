"""What docs/balancing.md says of run files and of a balancer of one's own."""

import re
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pydantic import TypeAdapter

from distmtl.balancing.base import StepView
from distmtl.balancing.build import build_balancer
from distmtl.balancing.specs import BalancingSpec
from tests.balancing.laws import LAWS, Law, run

TEXT = (Path(__file__).parents[2] / "docs" / "balancing.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
YAML = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)]
TASKS = ("hours", "income", "occupation")


def test_the_tables_have_every_kind() -> None:
    kinds = {member.model_fields["kind"].default for member in get_args(get_args(BalancingSpec)[0])}
    rows = re.findall(r"^\| `(\w+)` \|", TEXT, re.MULTILINE)
    routes = {"loss", "exact", "features", "sketch"}
    assert kinds - {"custom"} | routes <= set(rows)


@pytest.mark.parametrize("section", [block["balancing"] for block in YAML], ids=lambda section: section["kind"])
def test_the_sections_are_right(section: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_balancers.py").write_text(PYTHON[0])
    monkeypatch.syspath_prepend(tmp_path)
    spec: BalancingSpec = TypeAdapter(BalancingSpec).validate_python(section)
    balancer = build_balancer(spec, TASKS)
    view = StepView(300, np.ones(3, dtype=np.bool_), np.ones(3), np.eye(3))
    weights, _ = balancer.weights(view, balancer.init(3))
    assert np.isfinite(weights).all()
    if section["kind"] == "scheduled":
        assert weights.tolist() == [0.75, 1.0, 0.5]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_balancer_obeys_the_laws(law: Law) -> None:
    names: dict[str, Any] = {}
    exec(PYTHON[0], names)
    random = np.random.default_rng(0)
    views = []
    for step in range(6):
        present = np.array([True, step % 2 == 0, step % 3 == 0])
        root = random.standard_normal((3, 5))
        views.append(StepView(step, present, np.where(present, random.random(3), np.nan), root @ root.T))
    law(names["UnitNorms"], views)


def test_the_balancer_makes_gradients_equally_long() -> None:
    names: dict[str, Any] = {}
    exec(PYTHON[0], names)
    view = StepView(0, np.ones(2, dtype=np.bool_), np.ones(2), np.diag([4.0, 9.0]))
    ((_, weights, _),) = run(names["UnitNorms"], [view])
    np.testing.assert_allclose(weights, [0.5, 1.0 / 3.0])
