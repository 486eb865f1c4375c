"""What can be known before the first step, and every way in which it cannot."""

import pickle
from pathlib import Path
from typing import Any

import pytest

from distmtl.config import RunConfig, parse_config
from distmtl.errors import ConfigError, InputError, SourceError
from distmtl.orchestrate.prepare import Prepared, prepare, run_steps
from tests.orchestrate.sources import columns, config, packed


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sources")
    packed(folder, "big", columns(96), columns(32, 1))
    packed(folder, "small", columns(32, 2), columns(16, 3))
    packed(folder, "trainonly", columns(32, 4))
    words = columns(32, 5) | {"age": ["x", "y"] * 16}
    packed(folder, "words", words, words)
    return folder


def refused(given: RunConfig, kind: type[InputError] = SourceError) -> str:
    with pytest.raises(kind) as caught:
        prepare(given)
    return str(caught.value)


def test_everything_is_described(folder: Path) -> None:
    ready = prepare(config(folder))
    assert [(size.name, size.rows) for size in ready.sizes] == [("big", 96), ("small", 32)]
    assert [group.name for group in ready.groups] == ["categorical", "dense"]
    assert sum(ready.groups[0].columns[0].counts) == 96 + 32  # type: ignore[union-attr]
    assert ready.labels["y_big"].class_counts == (48, 48)
    assert ready.digests == {name: source.manifest.digest for name, source in ready.sources.items()}
    assert ready.mixture.quotas(0) == (24, 8)
    assert ready.steps == 5


def test_it_follows_from_the_run_file_alone(folder: Path) -> None:
    def facts(ready: Prepared) -> Any:
        return ready.groups, ready.labels, ready.steps, ready.mixture, ready.sampler_state, ready.digests

    given = config(folder, sampling={"kind": "temperature", "tau": 3.0})
    ready = prepare(given)
    assert facts(prepare(pickle.loads(pickle.dumps(given)))) == facts(ready)
    assert facts(pickle.loads(pickle.dumps(ready))) == facts(ready)


def test_a_sampler_decides_the_first_mixture(folder: Path) -> None:
    assert prepare(config(folder, sampling={"kind": "uniform"})).mixture.quotas(0) == (16, 16)


@pytest.mark.parametrize(("passes", "steps"), [(1.0, 4), (0.25, 1), (0.26, 2), (2.5, 10), (0.75, 3), (1e-9, 1)])
def test_steps_from_passes_are_rounded_up(folder: Path, passes: float, steps: int) -> None:
    assert prepare(config(folder, train={"passes": passes})).steps == steps


def test_decimal_passes_are_exact(folder: Path) -> None:
    given = config(folder, train={"passes": 0.1}, batch={"rows": 1024})
    assert run_steps(given, 10240 * 3) == 3


def test_references_are_expanded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_DATA", str(folder))
    values = config(folder).model_dump(mode="json")
    for name in ("big", "small"):
        values["sources"][name]["uri"] = f"${{env:DISTMTL_DATA}}/{name}"
    given = parse_config(values)
    assert prepare(given).config.sources["big"].uri == str(folder / "big")
    monkeypatch.delenv("DISTMTL_DATA")
    assert refused(given, ConfigError).startswith("sources.big.uri: the environment variable DISTMTL_DATA is not set.")


def test_a_pinned_version_is_opened_or_refused_by_name(folder: Path) -> None:
    given = config(folder)
    digests = prepare(given).digests
    assert prepare(given, digests).digests == digests
    with pytest.raises(SourceError, match=r"^sources\.small\.uri: .*there is no version feed of this source"):
        prepare(given, digests | {"small": "feed"})


def test_a_missing_source(folder: Path) -> None:
    assert refused(config(folder, ("big", "nothing"))) == (
        f"sources.nothing.uri: {folder}/nothing: there is no source here. "
        f"Pack one: distmtl pack FILES --out {folder}/nothing"
    )


def test_a_missing_target_names_the_nearest(folder: Path) -> None:
    tasks = {"t": {"source": "big", "target": "colour", "kind": "multiclass"}}
    message = refused(config(folder, tasks=tasks))
    assert message.startswith(f"tasks.t.target: {folder}/big: there is no column 'colour'.")
    assert "'color'" in message


def test_a_missing_input_names_the_nearest(folder: Path) -> None:
    sources = {"big": {"uri": str(folder / "big"), "inputs": {"dense": ["ages"]}}}
    tasks = {"t": {"source": "big", "target": "y", "kind": "binary"}}
    message = refused(config(folder, sources=sources, tasks=tasks))
    assert "there is no column 'ages'." in message
    assert "'age'" in message


def test_a_label_out_of_range(folder: Path) -> None:
    tasks = {"t": {"source": "big", "target": "three", "kind": "binary"}}
    assert refused(config(folder, tasks=tasks)).startswith(
        f"tasks.t.target: {folder}/big: label out of range: target 'three'"
    )


def test_inputs_that_differ_in_kind(folder: Path) -> None:
    assert refused(config(folder, ("big", "words")), ConfigError).startswith(
        "sources: column 'age' of group 'dense' is numeric in source 'big' and categorical in source 'words'."
    )


def test_sources_with_other_groups(folder: Path) -> None:
    values = config(folder).model_dump(mode="json")
    values["sources"]["small"]["inputs"] = {"dense": ["age"]}
    assert refused(parse_config(values), ConfigError) == (
        "sources.small.inputs: source 'big' has an input group 'categorical' and source 'small' has none. "
        "All sources feed one trunk: give them the same groups of the same columns."
    )


def test_sources_with_other_columns(folder: Path) -> None:
    values = config(folder).model_dump(mode="json")
    values["sources"]["small"]["inputs"]["dense"] = ["age", "z"]
    assert refused(parse_config(values), ConfigError) == (
        "sources.big.inputs.dense: column 'z' is an input of source 'small' and not of source 'big'. "
        "All sources feed one trunk: give the group the same columns."
    )


def test_the_order_of_columns_is_that_of_the_first_source(folder: Path) -> None:
    values = config(folder).model_dump(mode="json")
    values["sources"]["big"]["inputs"]["dense"] = ["z", "age"]
    values["sources"]["small"]["inputs"]["dense"] = ["age", "z"]
    assert [column.name for column in prepare(parse_config(values)).groups[1].columns] == ["z", "age"]


@pytest.mark.parametrize(
    ("changed", "key"),
    [
        ({"train": {"steps": 5, "eval_every": 1, "early_stop": {"metric": "loss"}}}, "train.early_stop.metric"),
        ({"checkpoint": {"keep_best": {"metric": "y_trainonly/f1"}}}, "checkpoint.keep_best.metric"),
    ],
)
def test_a_score_needs_a_valid_split(folder: Path, changed: dict[str, Any], key: str) -> None:
    assert refused(config(folder, ("trainonly",), **changed), ConfigError).startswith(f"{key}: ")


def test_a_config_from_a_program_is_checked_too(folder: Path) -> None:
    given = config(folder)
    task = given.tasks["y_big"].model_copy(update={"source": "bgi"})
    given = given.model_copy(update={"tasks": {**given.tasks, "y_big": task}})
    assert refused(given, ConfigError) == (
        "tasks.y_big.source: unknown source 'bgi'; did you mean 'big'? Allowed: big, small."
    )
