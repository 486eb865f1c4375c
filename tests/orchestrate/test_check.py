"""What ``check`` finds out, and what it warns of."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from distmtl.config import RunConfig
from distmtl.errors import ConfigError
from distmtl.features import InputGroup
from distmtl.orchestrate.check import check
from distmtl.orchestrate.prepare import prepare
from distmtl.orchestrate.rehearsal import foreign_modules, memory_facts, rehearse
from tests.orchestrate.sources import columns, config, packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    packed(folder, "big", columns(96), columns(32, 1))
    packed(folder, "small", columns(32, 2), columns(16, 3))
    packed(folder, "trainonly", columns(32, 4))
    sparse = columns(64, 5) | {"y": [0, 1, None, None] * 16}
    packed(folder, "sparse", sparse, columns(16, 6) | {"three": np.arange(16) % 4})
    return folder


def local(folder: Path, *names: str, **changed: Any) -> RunConfig:
    defaults = {"store": str(folder / "runs"), "launch": {"runtime": "inline"}}
    return config(folder, names or ("big", "small"), **(defaults | changed))


def test_the_facts_of_a_good_run(folder: Path) -> None:
    report = check(local(folder, train={"passes": 2.0, "device": "cpu"}))
    assert report.steps == 8
    assert [(source.name, source.share, source.passes) for source in report.sources] == [
        ("big", 0.75, 2.0),
        ("small", 0.25, 2.0),
    ]
    assert report.sources[0].rows == {"train": 96, "valid": 32}
    task = report.tasks[0]
    assert (task.missing, task.classes, task.effective_weight) == (
        {"train": 0.0, "valid": 0.0},
        {"0": 0.5, "1": 0.5},
        1.0,
    )
    assert report.store.writable
    assert report.store.found == ""
    assert report.pace is not None
    assert report.pace.rows == 32
    assert report.pace.train_s == pytest.approx(8 * report.pace.step_s)
    assert report.warnings == ()
    assert (report.route.route, report.route.memory_bytes, report.route.sent_bytes) == ("loss", 0, 0)
    assert report.to_json()["memory"]["total_bytes"] == report.memory.total_bytes


def test_nothing_is_left_in_the_store(folder: Path) -> None:
    check(local(folder, store=str(folder / "probed")))
    assert [path for path in (folder / "probed").rglob("*") if path.is_file()] == []


def test_labels_that_are_missing_lower_the_effective_weight(folder: Path) -> None:
    tasks = {"y": {"source": "sparse", "target": "y", "kind": "binary", "weight": 2.0}}
    report = check(local(folder, "sparse", tasks=tasks, batch={"rows": 1}, train={"steps": 20}))
    assert report.tasks[0].missing["train"] == 0.5
    assert report.tasks[0].effective_weight == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("names", "changed", "warning"),
    [
        (("big",), {"train": {"steps": 300}}, "source 'big' is repeated 100 times."),
        (("big",), {"train": {"steps": 1}}, "source 'big' is never finished: the run reads 33.3% of its train rows."),
        (
            ("trainonly",),
            {},
            "source 'trainonly' has no valid split, so its tasks are not evaluated during training.",
        ),
        (
            ("big", "small"),
            {"tasks": {"t": {"source": "big", "target": "y", "kind": "binary"}}},
            "source 'small' is read by no task.",
        ),
        (
            ("sparse",),
            {"tasks": {"t": {"source": "sparse", "target": "three", "kind": "multiclass"}}},
            "task 't': 4 rows of split 'valid' have a class that train has not; they count as missing.",
        ),
        (
            ("big",),
            {"batch": {"rows": 32, "lanes": 1}, "launch": {"runtime": "torchrun", "workers": 2}},
            "batch.lanes 1 is less than 2 workers, so some read what others read too.",
        ),
        (
            ("big",),
            {"batch": {"rows": 1}, "launch": {"runtime": "torchrun", "workers": 2}, "train": {"steps": 96}},
            "2 workers share 1 rows per step, so some compute nothing.",
        ),
    ],
)
def test_warning(folder: Path, names: tuple[str, ...], changed: dict[str, Any], warning: str) -> None:
    assert warning in check(local(folder, *names, **changed)).warnings


def test_more_workers_than_cores(folder: Path) -> None:
    launch = {"runtime": "torchrun", "workers": 4, "cpus_per_worker": 64}
    assert any("4 workers x 64 cores share" in warning for warning in check(local(folder, launch=launch)).warnings)


def test_a_source_that_the_sampler_never_draws(folder: Path) -> None:
    sampling = {"kind": "custom", "target": f"{__name__}:OnlyTheFirst"}
    assert (
        "source 'small' gives no row at all: its weight in the mixture is 0."
        in check(local(folder, sampling=sampling)).warnings
    )


class OnlyTheFirst:
    update_every = None

    def init(self, sources: Any) -> Any:
        return {"sources": len(sources)}

    def update(self, statistics: Any, state: Any, step: int) -> Any:
        return (1,) + (0,) * (state["sources"] - 1), state


def test_a_store_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").write_text("")
    report = check(local(folder, store=str(folder / "file" / "runs")))
    assert not report.store.writable
    assert report.warnings[-1].startswith("the store cannot be written: ")


def test_what_train_would_refuse_is_refused(folder: Path) -> None:
    with pytest.raises(ConfigError, match="runtime 'inline' runs 1 worker, not 2"):
        check(local(folder, launch={"runtime": "inline", "workers": 2}))


def test_fp16_cannot_be_tried_without_cuda(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    _, _, pace, warnings = rehearse(prepare(local(folder, train={"steps": 5, "precision": "fp16"})))
    assert pace is None
    assert warnings == ["train.precision fp16 needs CUDA, and there is none here."]


def test_memory_follows_from_the_parameters(folder: Path) -> None:
    ready = prepare(local(folder, train={"steps": 5, "precision": "fp64"}))
    memory = rehearse(ready)[0]
    numbers = memory.trunk_parameters + memory.private_parameters
    assert (memory.weights_bytes, memory.gradients_bytes, memory.optimizer_bytes) == (
        numbers * 8,
        numbers * 8,
        numbers * 16,
    )
    assert memory.checkpoint_bytes == numbers * 24
    # position 8, label 8 (int64 or float64), age 8, city 8, weight 8; 32 rows on one worker
    assert memory.batch_bytes == 32 * 40
    assert memory.prefetch_bytes == 5 * memory.batch_bytes


@pytest.mark.parametrize(
    ("optim", "moments"),
    [({"kind": "sgd"}, 0), ({"kind": "sgd", "momentum": 0.9}, 1), ({"kind": "adamw"}, 2)],
)
def test_moments_of_the_optimizer(folder: Path, optim: dict[str, Any], moments: int) -> None:
    memory = rehearse(prepare(local(folder, optim=optim)))[0]
    assert memory.optimizer_bytes == moments * memory.weights_bytes


def test_frozen_parameters_have_no_gradient(folder: Path) -> None:
    from distmtl.models.base import MultiTaskModel

    frozen = nn.Linear(3, 3).requires_grad_(requires_grad=False)
    memory = memory_facts(prepare(local(folder)), MultiTaskModel(frozen, {"y_big": nn.Linear(3, 1)}))
    assert (memory.weights_bytes, memory.gradients_bytes) == (16 * 4, 4 * 4)


def test_foreign_modules_are_named() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.5), nn.LayerNorm(2))
    assert foreign_modules(model) == [
        f"module '{name}' ({kind}) is outside the update law: its result depends on the number of workers."
        for name, kind in (("1", "BatchNorm1d"), ("2", "Dropout"))
    ]


class Foreign(nn.Module):
    def __init__(self, groups: tuple[InputGroup, ...]) -> None:
        super().__init__()
        self.width = 4
        self.norm = nn.BatchNorm1d(1)
        self.linear = nn.Linear(1, 4)

    def forward(self, inputs: Any) -> Any:
        return self.linear(self.norm(inputs["dense"]))


def test_foreign_modules_of_a_custom_trunk_are_warned_of(folder: Path) -> None:
    model = {"kind": "hard_sharing", "trunk": {"kind": "custom", "target": f"{__name__}:Foreign"}}
    report = check(local(folder, model=model))
    assert any("module 'trunk.norm' (BatchNorm1d) is outside the update law" in warning for warning in report.warnings)


def test_the_run_that_is_there_is_named(folder: Path) -> None:
    from distmtl.orchestrate import train

    given = local(folder, name="there", train={"steps": 2, "device": "cpu"})
    train(given)
    assert check(given).store.found == "a run of the same config; 'train' goes on from step 2"
    other = given.model_copy(update={"seed": 5})
    assert check(other).store.found == "a run of another config (seed), so 'train' refuses to go on with it"


@pytest.mark.parametrize(
    ("changed", "memory", "sent"),
    [
        # T = 2 tasks, P trunk parameters of 4 bytes, W = 4 workers
        ({}, 2 / 4 + 2, 3 * 3 / 4),
        ({"parallel": {"strategy": "fsdp"}}, 2 / 4, 4 * 3 / 4),
        ({"balancing": {"kind": "moco"}}, 2 * 2 / 4 + 2, 3 * 3 / 4),
        ({"balancing": {"kind": "upgrad", "update_every": 3}}, 2 / 4 + 2, (3 + 2 * 2) / 3 * 3 / 4),
    ],
)
def test_what_balancing_costs(folder: Path, changed: dict[str, Any], memory: float, sent: float) -> None:
    base: dict[str, Any] = {"balancing": {"kind": "upgrad"}, "launch": {"runtime": "torchrun", "workers": 4}}
    prepared = prepare(local(folder, **(base | changed)))
    facts, route, _, _ = rehearse(prepared)
    trunk = 4 * facts.trunk_parameters
    assert route.route == "exact"
    assert route.memory_bytes == pytest.approx(memory * trunk, abs=2)
    assert route.sent_bytes == pytest.approx(sent * trunk, abs=2)
    assert facts.balancing_bytes == route.memory_bytes
