from collections.abc import Mapping
from typing import Any

import pytest

from distmtl.config import RunConfig, changes, check_resume, config_hash, parse_config
from distmtl.config.hash import FREE
from distmtl.errors import ConfigError

VALUES: dict[str, Any] = {
    "name": "run",
    "sources": {"a": {"uri": "/a", "inputs": {"dense": ["x"]}}},
    "tasks": {"t": {"source": "a", "target": "y", "kind": "binary"}},
    "train": {"steps": 100, "eval_every": 10},
}


def config(**changed: Any) -> RunConfig:
    return parse_config(_put(VALUES, {key.split("__")[0]: (key.split("__")[1:], v) for key, v in changed.items()}))


def _put(values: Mapping[str, Any], changed: Mapping[str, tuple[list[str], Any]]) -> dict[str, Any]:
    result = dict(values)
    for key, (rest, value) in changed.items():
        inner = result.get(key, {})
        result[key] = _put(inner, {rest[0]: (rest[1:], value)}) if rest else value
    return result


def plain(**changed: Any) -> dict[str, Any]:
    return config(**changed).model_dump(mode="json")


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "other"},
        {"store": "s3://b"},
        {"launch__workers": 8},
        {"sources__a__uri": "s3://b/a"},
        {"batch__micro_rows": 8},
        {"batch__prefetch_bytes": 2**21},
        {"tasks__t__metrics": ["f1"]},
        {"train__log_every": 1},
        {"train__eval_every": None},
        {"train__device": "cpu"},
        {"train__quarantine": {"max_blocks": 3}},
        {"parallel__bucket_mb": 1.0},
        {"checkpoint__every": 7},
        {"checkpoint__keep_best": {"metric": "t/f1"}},
    ],
)
def test_free_keys_do_not_count(changed: dict[str, Any]) -> None:
    assert config_hash(config(**changed)) == config_hash(config())
    assert changes(plain(), plain(**changed)) == []


def test_every_free_key_is_tested_above_and_exists() -> None:
    keys = set(plain(train__early_stop={"metric": "loss"}))
    assert {free.key.split(".")[0] for free in FREE} <= keys
    assert all(free.why for free in FREE)


@pytest.mark.parametrize(
    ("changed", "keys"),
    [
        ({"seed": 1}, ["seed"]),
        ({"sources__a__inputs": {"dense": ["x", "z"]}}, ["sources.a.inputs.dense"]),
        ({"tasks__t__weight": 2.0}, ["tasks.t.weight"]),
        ({"batch__rows": 7}, ["batch.rows"]),
        ({"batch__lanes": 7}, ["batch.lanes"]),
        ({"optim": {"kind": "adamw", "lr": 0.5}}, ["optim.lr"]),
        ({"train__precision": "bf16"}, ["train.precision"]),
        ({"train__steps": 101}, ["train.steps"]),
        ({"model": {"kind": "hard_sharing", "trunk": {"kind": "tabular_mlp", "hidden": [3]}}}, ["model.trunk.hidden"]),
    ],
)
def test_all_else_counts(changed: dict[str, Any], keys: list[str]) -> None:
    assert config_hash(config(**changed)) != config_hash(config())
    assert changes(plain(), plain(**changed)) == keys


def test_defaults_written_out_are_the_same_run() -> None:
    assert config_hash(config(seed=0, batch__rows=1024)) == config_hash(config())


def test_order_of_tasks_does_not_change_the_hash() -> None:
    other = {"source": "a", "target": "z", "kind": "binary"}
    one = parse_config({**VALUES, "tasks": {"t": VALUES["tasks"]["t"], "u": other}})
    two = parse_config({**VALUES, "tasks": {"u": other, "t": VALUES["tasks"]["t"]}})
    assert config_hash(one) == config_hash(two)


def test_evaluation_counts_once_it_decides_when_to_stop() -> None:
    stop = {"metric": "loss"}
    before = plain(train__early_stop=stop)
    assert changes(before, _put(before, {"train": (["eval_every"], 20)})) == ["train.eval_every"]
    assert "train.early_stop.metric" in changes(plain(), before)


def test_a_run_may_be_made_longer() -> None:
    assert check_resume(plain(), plain(train__steps=200)) == [
        "train.steps changes from 100 to 200; the schedule is now that of the new length."
    ]


def test_a_run_may_not_be_made_shorter_nor_another() -> None:
    with pytest.raises(ConfigError) as caught:
        check_resume(plain(), plain(train__steps=50, seed=3))
    assert str(caught.value).splitlines() == [
        "seed: changes from 0 to 3, which changes the result of the run. "
        "Restore it, give the run another name, or pass --allow-change seed.",
        "train.steps: changes from 100 to 50, which changes the result of the run. "
        "Restore it, give the run another name, or pass --allow-change train.steps.",
    ]


def test_allowed_changes_are_noted() -> None:
    new = plain(optim={"kind": "adamw", "lr": 0.5, "beta1": 0.8}, seed=0)
    assert check_resume(plain(), new, ["optim"]) == [
        "optim.lr changes from 0.001 to 0.5, as allowed; the result is no longer that of one config.",
        "optim.beta1 changes from 0.9 to 0.8, as allowed; the result is no longer that of one config.",
    ]
    with pytest.raises(ConfigError, match=r"optim\.lr"):
        check_resume(plain(), new, ["optim.beta1", "opt"])
