from pathlib import Path

import pytest

from distmtl.config import load_config
from distmtl.config.document import Document
from distmtl.config.inherit import merge, read_run_file
from distmtl.errors import ConfigError

BASE = """\
name: base
sources:
  a: {uri: packed/a, inputs: {dense: [x, y]}}
tasks:
  t: {source: a, target: label, kind: binary, metrics: [auroc, ap]}
sampling: {kind: temperature, tau: 3.0, per: step}
optim: {kind: adamw, lr: 0.1, schedule: {kind: cosine, warmup_steps: 5}}
train: {steps: 10, eval_every: 5}
"""


@pytest.fixture(autouse=True)
def bases(folder: Path) -> None:
    Path("bases").mkdir()
    Path("bases/base.yaml").write_text(BASE)


def write(text: str, path: str = "run.yaml") -> str:
    Path(path).write_text(text)
    return path


def test_mappings_merge_and_lists_are_replaced() -> None:
    run = write("base: bases/base.yaml\nname: run\ntrain: {steps: 20}\ntasks: {t: {metrics: [f1]}}\n")
    config = load_config(run)
    assert (config.name, config.train.steps, config.train.eval_every) == ("run", 20, 5)
    assert config.tasks["t"].metrics == ("f1",)
    assert config.tasks["t"].target == "label"


def test_another_kind_replaces_and_the_same_kind_merges() -> None:
    run = write(
        "base: bases/base.yaml\nsampling: {kind: uniform}\noptim: {kind: adamw, schedule: {kind: linear}}\n"
        "tasks: {t: {kind: regression, metrics: null}}\n"
    )
    values = read_run_file(Path(run)).values
    assert values["sampling"] == {"kind": "uniform"}
    assert values["optim"] == {"kind": "adamw", "lr": 0.1, "schedule": {"kind": "linear"}}
    assert values["tasks"]["t"] == {"source": "a", "target": "label", "kind": "regression", "metrics": None}


def test_null_replaces_a_mapping() -> None:
    run = write("base: bases/base.yaml\ncheckpoint: {keep_best: null}\n")
    assert load_config(run).checkpoint.keep_best is None


def test_chains_are_relative_to_each_file_and_the_nearest_wins() -> None:
    write("base: base.yaml\nname: middle\nseed: 7\n", "bases/middle.yaml")
    config = load_config(write("base: ./bases/middle.yaml\nname: top\n"))
    assert (config.name, config.seed, config.train.steps) == ("top", 7, 10)


def test_sources_are_relative_to_the_file_that_names_them(folder: Path) -> None:
    run = write("base: bases/base.yaml\nsources: {b: {uri: packed/b, inputs: {dense: [x]}}}\n")
    config = load_config(run, ["sources.a.uri=here"])
    assert config.sources["b"].uri == str(folder / "packed/b")
    assert config.sources["a"].uri == str(folder / "here")
    assert load_config(run).sources["a"].uri == str(folder / "bases/packed/a")


def test_an_error_names_the_file_that_the_value_came_from() -> None:
    write(BASE.replace("eval_every: 5", "eval_every: 0"), "bases/base.yaml")
    run = write("base: bases/base.yaml\ntrain: {steps: 0}\n")
    with pytest.raises(ConfigError) as caught:
        load_config(run)
    assert str(caught.value).splitlines() == [
        "run.yaml:2: train.steps: must be at least 1, got 0.",
        "bases/base.yaml:8: train.eval_every: must be at least 1, got 0.",
    ]


def test_a_circle_is_refused() -> None:
    write("base: ../run.yaml\n", "bases/middle.yaml")
    with pytest.raises(ConfigError) as caught:
        load_config(write("base: bases/middle.yaml\n"))
    assert str(caught.value) == (
        "bases/middle.yaml:1: base: the chain of bases is a circle: run.yaml -> bases/middle.yaml -> run.yaml. "
        "Remove one 'base'."
    )


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("base: nothing.yaml\n", "run.yaml:1: base: there is no file 'nothing.yaml'. Check the path."),
        ("base: [a, b]\n", "run.yaml:1: base: expected the path of one run file. Write 'base: ./other.yaml'."),
        (
            "base: ${env:DISTMTL_NOWHERE}/x.yaml\n",
            "run.yaml:1: base: the environment variable DISTMTL_NOWHERE is not set. "
            "Set it, or write ${env:DISTMTL_NOWHERE:-default}.",
        ),
    ],
)
def test_a_base_that_cannot_be_read(text: str, line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config(write(text))
    assert str(caught.value) == line


def test_merging_leaves_both_as_they_were() -> None:
    base, over = Document({"a": {"b": 1}}), Document({"a": {"c": 2}})
    assert merge(base, over).values == {"a": {"b": 1, "c": 2}}
    assert (base.values, over.values) == ({"a": {"b": 1}}, {"a": {"c": 2}})
