"""The update law of whole runs whose trunk is in shares, evaluation and checkpoints included."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from distmtl.checkpoint.commit import find, read_commit
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.run import open_run_uri
from distmtl.cli import main
from distmtl.orchestrate import evaluate, train
from distmtl.parallel.world import Solo
from distmtl.training.result import RunResult
from tests.runs import losses, run_config, tensors, write_sources

VALID = {"shop": 101, "news": 1}
"""Of "shop", two workers have 50 and 51 rows, one pass and two; of "news", one worker has no row at all."""

SECTIONS: dict[str, Any] = {
    "balancing": {"kind": "moco"},
    "train": {"steps": 24, "log_every": 1, "eval_every": 6, "precision": "fp64"},
    "checkpoint": {"every": 6, "keep_last": 2, "keep_best": {"metric": "click/auroc"}},
}

SHARDED = {"fsdp": {"strategy": "fsdp"}, "hsdp": {"strategy": "hsdp", "shard_size": 1}}


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sources"), VALID)


@pytest.fixture(scope="module")
def alone(uris: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    """The run that the others are compared with: inline, one worker."""
    return train(run_config(uris, tmp_path_factory.mktemp("alone"), **SECTIONS), runtime="inline", workers=1)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.dist
@pytest.mark.parametrize("strategy", SHARDED)
def test_a_sharded_run_is_the_run_of_one_process(
    uris: dict[str, str], alone: RunResult, tmp_path: Path, strategy: str
) -> None:
    config = run_config(uris, tmp_path, **SECTIONS, parallel=SHARDED[strategy])
    result = train(config, runtime="torchrun", workers=2)
    _require_same(result, alone)
    steps: tuple[Literal["last", "best"], ...] = ("last", "best")
    for step in steps:
        done = CliRunner().invoke(main, ["eval", result.run, "--split", "test", "--step", step, "--json"])
        found = json.loads(done.stdout.splitlines()[-1])
        expected = evaluate(alone.run, split="test", step=step)
        assert found["step"] == expected.step
        for task, metrics in expected.tasks.items():
            assert found["tasks"][task] == pytest.approx(metrics, rel=1e-9, nan_ok=True)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("strategy", SHARDED)
def test_a_sharded_run_on_ray(uris: dict[str, str], alone: RunResult, tmp_path: Path, strategy: str) -> None:
    config = run_config(uris, tmp_path, **SECTIONS, parallel=SHARDED[strategy])
    _require_same(train(config, runtime="ray", workers=2), alone)


def _require_same(result: RunResult, alone: RunResult) -> None:
    assert (result.step, result.world_size, result.stopped) == (24, 2, "done")
    np.testing.assert_allclose(losses(result.run), losses(alone.run), rtol=1e-10, atol=1e-10)
    expected = tensors(alone.run)
    found = tensors(result.run)
    assert found.keys() == expected.keys()
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-10, msg=name)
    for task, metrics in alone.tasks.items():
        assert result.tasks[task] == pytest.approx(metrics, rel=1e-9, nan_ok=True)
    assert _kept(result.run) == pytest.approx(_kept(alone.run), rel=1e-9)


def _kept(uri: str) -> dict[int, float]:
    """The checkpoints that were not deleted, and what they are chosen by."""
    run = open_run_uri(uri)
    return {ref.step: read_commit(run, ref).metrics["click/auroc"] for ref in find(run)}


COMPILED: dict[str, Any] = {
    "balancing": {"kind": "upgrad"},
    "train": {"steps": 8, "log_every": 1, "eval_every": 4, "precision": "fp32"},
}


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.timeout(900)  # the compiler takes about a minute
@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_a_compiled_trunk_does_the_same(uris: dict[str, str], tmp_path: Path, strategy: str) -> None:
    """Every task of a step is differentiated through one compiled pass; the compiler is a C++ one."""
    plain = train(run_config(uris, tmp_path, name="plain", **COMPILED), runtime="inline", workers=1)
    sections = COMPILED | {"train": COMPILED["train"] | {"compile": True}}
    config = run_config(uris, tmp_path, name="compiled", **sections, parallel={"strategy": strategy})
    result = train(config, runtime="torchrun", workers=2)
    np.testing.assert_allclose(losses(result.run), losses(plain.run), rtol=1e-5, atol=1e-5)
    expected = tensors(plain.run)
    for name, tensor in tensors(result.run).items():
        if name.startswith("model."):
            torch.testing.assert_close(tensor, expected[name], rtol=1e-5, atol=1e-5, msg=name)
    for task, metrics in plain.tasks.items():
        assert result.tasks[task] == pytest.approx(metrics, rel=1e-4, abs=1e-4, nan_ok=True)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"kind": "uncertainty"}, {"kind": "imtl_l"}),  # the same names in their states, of other meaning
        ({"kind": "equal"}, {"kind": "moco"}),
        ({"kind": "gradnorm"}, {"kind": "gradnorm", "update_every": 3}),
        ({"kind": "gradnorm", "update_every": 3}, {"kind": "gradnorm", "lr": 0.5}),
    ],
)
def test_a_run_may_go_on_with_another_balancer(
    uris: dict[str, str], tmp_path: Path, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """Another kind begins anew; the same kind goes on from its state, however often it is asked."""
    short = {"steps": 7, "log_every": 1, "eval_every": None}
    first = train(run_config(uris, tmp_path, balancing=before, train=short))
    config = run_config(uris, tmp_path, balancing=after, train=short | {"steps": 9, "ema": 0.9})
    second = train(config, allow_change=("balancing", "train"))
    states = [_balancer_state(uri, step) for uri, step in ((first.run, 7), (second.run, 9))]
    if before["kind"] == "gradnorm":
        assert _updates(states[1]) == _updates(states[0]) + (1 if "update_every" in after else 2)
    elif after["kind"] == "imtl_l":
        assert (_updates(states[0]), _updates(states[1])) == (7, 2)
    else:
        assert np.isfinite(losses(second.run)[:, 0]).all()
        assert second.step == 9


def _balancer_state(uri: str, step: int) -> Any:
    run = open_run_uri(uri)
    return load(run, next(ref for ref in find(run) if ref.step == step), Solo()).values["balancer"]


def _updates(state: Any) -> int:
    """How often the weight of the first task was learned from a step."""
    return int(state.get("own", state)["adam"]["updates"][0])
