"""The update and resume laws of whole runs, in every runtime."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.config import parse_config
from distmtl.errors import CheckpointError, ConfigError
from distmtl.orchestrate import train
from distmtl.training.result import RunResult
from tests.runs import losses, run_config, tensors, write_sources


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """One Ray for all the runs of this module."""
    import ray

    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


LONG = {"steps": 200, "log_every": 1, "eval_every": 100, "precision": "fp64"}
SHORT = {"steps": 50, "log_every": 1, "eval_every": 25, "precision": "fp32"}
ELSEWHERE = [
    pytest.param("torchrun", 2, marks=pytest.mark.dist),
    pytest.param("ray", 2, marks=pytest.mark.ray),
    pytest.param("ray", 3, marks=[pytest.mark.ray, pytest.mark.slow]),
]


@pytest.fixture(scope="module")
def alone(uris: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, RunResult]:
    """The runs that the others are compared with: inline, one worker."""
    store = tmp_path_factory.mktemp("alone")
    return {
        name: train(run_config(uris, store, name=name, train=section), runtime="inline", workers=1)
        for name, section in (("fp64", LONG), ("fp32", SHORT))
    }


@pytest.mark.parametrize(("runtime", "workers"), ELSEWHERE)
@pytest.mark.usefixtures("cluster")
def test_a_run_does_not_depend_on_where_it_happens(
    uris: dict[str, str], alone: dict[str, RunResult], tmp_path: Path, runtime: Any, workers: int
) -> None:
    config = run_config(uris, tmp_path, name="fp64", train=LONG)
    result = train(config, runtime=runtime, workers=workers)
    assert (result.step, result.world_size, result.stopped) == (200, workers, "done")
    np.testing.assert_allclose(losses(result.run), losses(alone["fp64"].run), rtol=1e-10, atol=1e-10)
    expected = tensors(alone["fp64"].run)
    for name, tensor in tensors(result.run).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-10, atol=1e-10, msg=name)
    for task, metrics in alone["fp64"].tasks.items():
        assert result.tasks[task] == pytest.approx(metrics, rel=1e-9)

    single = train(run_config(uris, tmp_path, name="fp32", train=SHORT), runtime=runtime, workers=workers)
    np.testing.assert_allclose(losses(single.run), losses(alone["fp32"].run), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("balancer", ["equal", "uncertainty"])
@pytest.mark.parametrize("every", [20, 7])
def test_a_resumed_run_is_bit_equal_to_an_undisturbed_one(
    uris: dict[str, str], tmp_path: Path, balancer: str, every: int
) -> None:
    sections: dict[str, Any] = {"balancing": {"kind": balancer}, "checkpoint": {"every": every, "keep_last": 50}}
    whole = train(run_config(uris, tmp_path, name="whole", **sections))
    config = run_config(uris, tmp_path, name="parts", **sections)
    train(run_config(uris, tmp_path, name="parts", **sections, train={"steps": 60, "eval_every": 30}))
    _cut_off(str(tmp_path / "parts"), after=42)
    resumed = train(config)
    assert resumed.step == whole.step == 60
    assert (losses(resumed.run) == losses(whole.run))[~np.isnan(losses(whole.run))].all()
    expected = tensors(whole.run)
    for name, tensor in tensors(resumed.run).items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.tasks == whole.tasks


@pytest.mark.dist
@pytest.mark.slow
def test_three_workers_resume_bit_for_bit(uris: dict[str, str], tmp_path: Path) -> None:
    sections: dict[str, Any] = {
        "train": {"steps": 30, "log_every": 7, "eval_every": 15},
        "checkpoint": {"every": 10, "keep_last": 9},
    }
    whole = train(run_config(uris, tmp_path, name="whole", **sections), runtime="torchrun", workers=3)
    config = run_config(uris, tmp_path, name="parts", **sections)
    _cut_off(train(config, runtime="torchrun", workers=3).run, after=10)
    resumed = train(config, runtime="torchrun", workers=3)
    assert (losses(resumed.run) == losses(whole.run))[~np.isnan(losses(whole.run))].all()
    expected = tensors(whole.run)
    for name, tensor in tensors(resumed.run).items():
        assert torch.equal(tensor, expected[name]), name
    assert resumed.tasks == whole.tasks


def _cut_off(uri: str, after: int) -> None:
    """As if the run had been killed: its checkpoints after a step are gone."""
    run = open_run_uri(uri)
    for ref in find(run):
        if ref.step > after:
            run.store.clear(ref.key)


def test_a_finished_run_prints_its_result_and_can_be_extended(uris: dict[str, str], tmp_path: Path) -> None:
    config = run_config(uris, tmp_path, optim={"kind": "sgd", "lr": 0.05})
    first = train(config)
    attempts = open_run_uri(first.run).store.list("attempts")
    again = train(config)
    assert (again.step, again.tasks, again.checkpoint) == (first.step, first.tasks, first.checkpoint)
    assert open_run_uri(first.run).store.list("attempts") == attempts

    longer = run_config(uris, tmp_path, optim={"kind": "sgd", "lr": 0.05}, train={"steps": 80})
    extended = train(longer)
    straight = train(run_config(uris, tmp_path, name="long", optim={"kind": "sgd", "lr": 0.05}, train={"steps": 80}))
    assert extended.step == 80
    expected = tensors(straight.run)
    for name, tensor in tensors(extended.run).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_changed_key_is_refused_unless_allowed(uris: dict[str, str], tmp_path: Path) -> None:
    train(run_config(uris, tmp_path, train={"steps": 20}))
    changed = run_config(uris, tmp_path, train={"steps": 40}, optim={"kind": "adamw", "lr": 0.1})
    with pytest.raises(ConfigError, match=r"^optim\.lr: changes from 0\.005 to 0\.1"):
        train(changed)
    assert train(changed, allow_change=("optim",)).step == 40


def test_never_begins_anew_and_a_uri_branches_off(uris: dict[str, str], tmp_path: Path) -> None:
    config = run_config(uris, tmp_path)
    first = train(config)
    anew = train(config, resume="never")
    assert (losses(anew.run) == losses(first.run))[~np.isnan(losses(first.run))].all()
    run = open_run_uri(anew.run)
    middle = next(ref for ref in find(run) if ref.step == 40)
    branch = train(run_config(uris, tmp_path, name="branch"), resume=middle.uri)
    expected = tensors(anew.run)
    for name, tensor in tensors(branch.run).items():
        assert torch.equal(tensor, expected[name]), name
    with pytest.raises(CheckpointError):
        train(run_config(uris, tmp_path, name="other"), resume=f"{anew.run}/checkpoints/step-00000039")


def test_another_model_is_refused_before_anything_is_hidden(uris: dict[str, str], tmp_path: Path) -> None:
    first, second = (train(run_config(uris, tmp_path, name=name, train={"steps": 20})) for name in ("a", "b"))
    model = {"kind": "hard_sharing", "trunk": {"kind": "tabular_mlp", "hidden": [4]}}
    config = run_config(uris, tmp_path, name="b", model=model)
    with pytest.raises(CheckpointError, match="another model"):
        train(config, resume=first.run, allow_change=("model", "train"))
    assert find(open_run_uri(second.run))[0].uri == second.checkpoint


def test_a_branch_remembers_where_it_began(uris: dict[str, str], tmp_path: Path) -> None:
    first = train(run_config(uris, tmp_path))
    middle = next(ref for ref in find(open_run_uri(first.run)) if ref.step == 40)
    branch = run_config(uris, tmp_path, name="branch")
    _cut_off(train(branch, resume=middle.uri).run, after=0)  # it died before its first commit
    changed = run_config(uris, tmp_path, name="branch", batch={"rows": 49})
    with pytest.raises(ConfigError, match=r"batch\.rows"):
        train(changed)
    with pytest.raises(ConfigError, match=r"batch\.rows"):
        train(changed)  # being refused once changed nothing
    expected = tensors(first.run)
    for name, tensor in tensors(train(branch).run).items():
        assert torch.equal(tensor, expected[name]), name


def test_two_readings_of_one_column_are_refused(uris: dict[str, str], tmp_path: Path) -> None:
    config = run_config(uris, tmp_path)
    values = config.model_dump(mode="json", exclude_unset=True)
    values["tasks"]["rating"] = {"source": "shop", "target": "click", "kind": "regression"}
    with pytest.raises(ConfigError, match="Pack the column twice"):
        train(parse_config(values))


def test_early_stopping_ends_a_run_for_good(uris: dict[str, str], tmp_path: Path) -> None:
    stop = {"metric": "loss", "patience": 1, "min_delta": 100.0}
    config = run_config(uris, tmp_path, train={"early_stop": stop, "eval_every": 10})
    result = train(config)
    assert (result.step, result.stopped) == (20, "early_stop")
    assert train(config).step == 20


def test_one_source_a_step(uris: dict[str, str], tmp_path: Path) -> None:
    config = run_config(uris, tmp_path, sampling={"kind": "uniform", "per": "step"}, train={"steps": 10})
    values = losses(train(config).run)
    absent = np.isnan(values[:, 1:])
    assert (absent[:, 0] == absent[:, 1]).all()
    assert (absent[:, 0] != absent[:, 2]).all()
    assert absent[:, 0].sum() == 5
