"""Every way in which a run file can be wrong, and the exact line that a person reads."""

from pathlib import Path

import pytest

from distmtl.config import load_config, parse_config
from distmtl.errors import ConfigError

VALID = Path(__file__).with_name("valid.yaml").read_text()
SAMPLERS = "proportional, uniform, temperature, custom"


def complaint(text: str, *overrides: str) -> str:
    Path("run.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config("run.yaml", overrides)
    return str(caught.value)


def test_the_valid_file_is_valid(folder: Path) -> None:
    Path("run.yaml").write_text(VALID)
    config = load_config("run.yaml")
    assert config.sources["adult"].uri == str(folder / "data/adult")
    assert config.store == str(folder / "runs")
    assert config.optim.lr == 1e-3  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        pytest.param(
            "tau: 2.0", "tua: 2.0",
            "run.yaml:21: sampling.tua: unknown key 'tua'; did you mean 'tau'? "
            "Allowed: per, delay_steps, kind, tau, cap.",
            id="unknown key",
        ),
        pytest.param(
            "name: adult", "name: adult\nzzz: 1",
            "run.yaml:2: zzz: unknown key 'zzz'. Allowed: name, seed, sources, tasks, model, sampling, balancing, "
            "batch, optim, train, parallel, checkpoint, store, launch, base.",
            id="unknown key that is like none",
        ),
        pytest.param(
            "kind: temperature", "kind: temprature",
            "run.yaml:20: sampling.kind: unknown sampler 'temprature'; did you mean 'temperature'? "
            f"Allowed: {SAMPLERS}.",
            id="unknown kind",
        ),
        pytest.param(
            "kind: temperature", "kind: 3",
            f"run.yaml:20: sampling.kind: expected the name of a sampler, got the integer 3. Allowed: {SAMPLERS}.",
            id="kind that is no name",
        ),
        pytest.param(
            "kind: temperature", "knd: temperature",
            f"run.yaml:20: sampling.knd: unknown key 'knd'; did you mean 'kind'? Kinds: {SAMPLERS}.",
            id="misspelt kind",
        ),
        pytest.param(
            "  kind: temperature\n", "",
            f"run.yaml:19: sampling.kind: missing key 'kind', which says which sampler. Allowed: {SAMPLERS}.",
            id="missing kind",
        ),
        pytest.param(
            "kind: bce", "kind: bec",
            "run.yaml:13: tasks.income.loss.kind: unknown loss 'bec'; did you mean 'bce'? "
            "Allowed: bce, cross_entropy, mse, mae, huber, custom.",
            id="unknown loss",
        ),
        pytest.param(
            "kind: binary", "kind: binry",
            "run.yaml:12: tasks.income.kind: unknown task kind 'binry'; did you mean 'binary'? "
            "Allowed: binary, multiclass, regression.",
            id="unknown task kind",
        ),
        pytest.param(
            "[auroc, ap]", "[auroc, aupr]",
            "run.yaml:14: tasks.income.metrics.1: unknown metric 'aupr'; did you mean 'auroc'? "
            "Allowed: auroc, ap, accuracy, f1, mcc, rmse, mae, r2, pearson.",
            id="unknown metric",
        ),
        pytest.param(
            "sampling:\n  kind: temperature\n  tau: 2.0", "sampling: temperature",
            "run.yaml:19: sampling: expected a mapping with 'kind', got text 'temperature'. Write {kind: temperature}.",
            id="a name instead of a choice",
        ),
        pytest.param(
            "    target: y_wage\n", "",
            "run.yaml:15: tasks.wage.target: missing key 'target'. Give text.",
            id="missing key",
        ),
        pytest.param(
            "train:\n", "trian:\n",
            "run.yaml:23: trian: unknown key 'trian'; did you mean 'train'? Allowed: name, seed, sources, tasks, "
            "model, sampling, balancing, batch, optim, train, parallel, checkpoint, store, launch, base.",
            id="a misspelt key is not also missing",
        ),
        pytest.param(
            "steps: 100", "steps: '100'",
            "run.yaml:24: train.steps: expected an integer or null, got text '100'. Write it without quotes.",
            id="quoted number",
        ),
        pytest.param(
            "steps: 100", "steps: 1e2",
            "run.yaml:24: train.steps: expected an integer or null, got the number 100.0. Write 100.",
            id="a float for an integer",
        ),
        pytest.param(
            "steps: 100", "steps: true",
            "run.yaml:24: train.steps: expected an integer or null, got true.",
            id="a boolean for an integer",
        ),
        pytest.param(
            "steps: 100", "steps: ${env:STEPS:-100}",
            "run.yaml:24: train.steps: expected an integer or null, got text '${env:STEPS:-100}'. "
            "References stand in text only; use --set for other values.",
            id="a reference for a number",
        ),
        pytest.param(
            "name: adult", "name: 7",
            'run.yaml:1: name: expected text, got the integer 7. Write it in quotes: "7".',
            id="a number for text",
        ),
        pytest.param(
            "name: adult", "name: a/b",
            "run.yaml:1: name: 'a/b' is not allowed here. Use letters, digits, '.', '_' and '-', "
            "starting with a letter or digit.",
            id="pattern",
        ),
        pytest.param(
            "dense: [age, hours]", "dense: 3",
            "run.yaml:6: sources.adult.inputs.dense: expected text or a list of texts, got the integer 3. "
            'Write it in quotes: "3".',
            id="neither branch of a union",
        ),
        pytest.param(
            "dense: [age, hours]", "dense: [age, 3]",
            "run.yaml:6: sources.adult.inputs.dense.1: expected text, got the integer 3. Write it in quotes: \"3\".",
            id="inside a branch of a union",
        ),
        pytest.param(
            "[auroc, ap]", "auroc",
            "run.yaml:14: tasks.income.metrics: expected a list of names or null, got text 'auroc'. Write [auroc].",
            id="text for a list",
        ),
        pytest.param(
            "train:\n  steps: 100\n  eval_every: 10\n", "train:\n",
            "run.yaml:23: train: expected a mapping, got nothing.",
            id="an empty section",
        ),
        pytest.param(
            "eval_every: 10", "eval_every: 0",
            "run.yaml:25: train.eval_every: must be at least 1, got 0.",
            id="bound",
        ),
        pytest.param(
            "lr: 1e-3", "lr: -1e-3",
            "run.yaml:22: optim.lr: must be greater than 0.0, got -0.001.",
            id="bound of a choice",
        ),
        pytest.param(
            "steps: 100", "steps: 100\n  passes: 2",
            "run.yaml:23: train: give either 'steps' or 'passes'.",
            id="two lengths",
        ),
        pytest.param(
            "    inputs:\n      dense: [age, hours]\n      categorical: [sex]", "    inputs: {}",
            "run.yaml:5: sources.adult.inputs: needs at least 1 entry, has 0. Give a mapping.",
            id="too short",
        ),
        pytest.param(
            "name: adult", "name: adult\nname: other",
            "run.yaml:2: name: the key 'name' is given twice, first at run.yaml:1. Keep one of them.",
            id="duplicate key",
        ),
        pytest.param(
            "name: adult", "name: adult\n1: x",
            "run.yaml:2: the key 1 is not text. Write it in quotes.",
            id="a key that is no text",
        ),
        pytest.param(
            "name: adult", "name: !!python/name:os.system",
            "run.yaml:1: name: the tag 'tag:yaml.org,2002:python/name:os.system' is not allowed. Write plain values.",
            id="a tag",
        ),
        pytest.param(
            "tau: 2.0", "tau: &a [*a]",
            "run.yaml:21: sampling.tau.0: an alias contains itself. Write the values out.",
            id="a circular alias",
        ),
        pytest.param(
            "name: adult", "name: [adult",
            "run.yaml:2: not YAML: while parsing a flow sequence, expected ',' or ']', but got ':'. "
            "Check indentation, quotes and brackets near there.",
            id="syntax",
        ),
        pytest.param(
            "data/adult", "${env:DISTMTL_NOWHERE}/adult",
            "run.yaml:4: sources.adult.uri: the environment variable DISTMTL_NOWHERE is not set. "
            "Set it, or write ${env:DISTMTL_NOWHERE:-default}.",
            id="a missing variable",
        ),
        pytest.param(
            "data/adult", "${HOME}/adult",
            "run.yaml:4: sources.adult.uri: '${HOME}' is not a reference. "
            "Write ${env:NAME} or ${env:NAME:-default}.",
            id="a malformed reference",
        ),
    ],
)  # fmt: skip
def test_line(folder: Path, old: str, new: str, line: str) -> None:
    assert VALID.count(old) == 1
    assert complaint(VALID.replace(old, new)) == line


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        pytest.param(
            "    source: adult\n    target: y_wage", "    source: adutl\n    target: y_wage",
            "run.yaml:16: tasks.wage.source: unknown source 'adutl'; did you mean 'adult'? Allowed: adult.",
            id="source of a task",
        ),
        pytest.param(
            "kind: bce, imbalance: balanced", "kind: mse",
            "run.yaml:13: tasks.income.loss.kind: loss 'mse' does not fit a binary task. Allowed: bce, custom.",
            id="loss and kind",
        ),
        pytest.param(
            "[auroc, ap]", "[auroc, rmse]",
            "run.yaml:14: tasks.income.metrics.1: metric 'rmse' does not fit a binary task. "
            "Allowed: auroc, ap, accuracy, f1, mcc.",
            id="metric and kind",
        ),
        pytest.param(
            "name: adult", "name: adult\nmodel: {kind: hard_sharing, heads: {incme: {kind: mlp}}}",
            "run.yaml:2: model.heads.incme: unknown task 'incme'; did you mean 'income'? Allowed: income, wage.",
            id="head of no task",
        ),
        pytest.param(
            "name: adult", "name: adult\nbalancing: {kind: fixed, weights: {wages: 2}}",
            "run.yaml:2: balancing.weights.wages: unknown task 'wages'; did you mean 'wage'? Allowed: income, wage.",
            id="weight of no task",
        ),
        pytest.param(
            "steps: 100", "steps: 100\n  precision: fp16\n  device: cpu",
            "run.yaml:25: train.precision: fp16 needs CUDA, and train.device is cpu. Use bf16 or fp32.",
            id="fp16 on the CPU",
        ),
        pytest.param(
            "target: y_wage", "target: age",
            "run.yaml:17: tasks.wage.target: target 'age' is also an input (sources.adult.inputs.dense). "
            "Remove it from the inputs: the model would copy it.",
            id="a leak",
        ),
        pytest.param(
            "[sex]", "[sex, age]",
            "run.yaml:6: sources.adult.inputs.dense: column 'age' is an input already, in group 'categorical'. "
            "Name it once.",
            id="a column twice",
        ),
        pytest.param(
            "[sex]", "[]",
            "run.yaml:7: sources.adult.inputs.categorical: names no column. Name one, or remove the group.",
            id="an empty group",
        ),
        pytest.param(
            "  wage:", "  my.wage:",
            "run.yaml:15: tasks.my.wage: 'my.wage' is not a name. Use letters, digits, '_' and '-'.",
            id="a name that cannot be a key",
        ),
        pytest.param(
            "  wage:", "  mean:",
            "run.yaml:15: tasks.mean: a task may not be called 'mean', which stands for the mean over tasks in "
            "'mean/<metric>'. Rename the task.",
            id="a task called mean",
        ),
        pytest.param(
            "name: adult", "name: adult\ncheckpoint: {keep_best: {metric: wage/rmsd}}",
            "run.yaml:2: checkpoint.keep_best.metric: unknown score 'wage/rmsd'; did you mean 'wage/rmse'? Allowed: "
            "mean/auroc, mean/ap, mean/rmse, mean/mae, mean/r2, mean/pearson, income/auroc, income/ap, wage/rmse, "
            "wage/mae, wage/r2, wage/pearson.",
            id="a score that is not measured",
        ),
        pytest.param(
            "  eval_every: 10\n", "  early_stop: {metric: loss}\n",
            "run.yaml:25: train.early_stop: early stopping needs evaluations, and train.eval_every is null. "
            "Set train.eval_every.",
            id="early stopping without evaluations",
        ),
    ],
)  # fmt: skip
def test_line_between_parts(folder: Path, old: str, new: str, line: str) -> None:
    assert VALID.count(old) == 1
    assert complaint(VALID.replace(old, new)) == line


def test_no_weight_at_all(folder: Path) -> None:
    assert complaint(VALID, "tasks.income.weight=0", "tasks.wage.weight=0") == (
        "run.yaml:8: tasks: every task has weight 0, so there is nothing to learn. Raise one weight."
    )


def test_several_problems_are_a_line_each(folder: Path) -> None:
    text = VALID.replace("tau: 2.0", "tau: low").replace("steps: 100", "steps: -1")
    assert complaint(text, "batch.row=5").splitlines() == [
        "run.yaml:21: sampling.tau: expected a number, got text 'low'.",
        "--set batch.row=5: batch.row: unknown key 'row'; did you mean 'rows'? "
        "Allowed: rows, micro_rows, lanes, window_blocks, prefetch_bytes, transform_workers.",
        "run.yaml:24: train.steps: must be at least 1, got -1.",
    ]


def test_a_file_that_is_not_there(folder: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("nothing.yaml")
    assert str(caught.value) == (
        "nothing.yaml: cannot read the run file: No such file or directory. Check the path."
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "run.yaml: the run file is empty. Start from one of the files in configs/."),
        ("- a\n- b\n", "run.yaml:1: a run file is a mapping, not a list. Write 'key: value' lines."),
        ("hello", "run.yaml:1: a run file is a mapping, not a single value. Write 'key: value' lines."),
        ("a: b: c", "run.yaml:1: not YAML: mapping values are not allowed here. "
                    "Check indentation, quotes and brackets near there."),
        ("a: 1\n---\nb: 2\n", "run.yaml:2: not YAML: expected a single document in the stream, "
                              "but found another document. Check indentation, quotes and brackets near there."),
    ],
)  # fmt: skip
def test_a_file_that_is_no_mapping(folder: Path, text: str, line: str) -> None:
    assert complaint(text) == line


def test_bytes_that_are_no_text(folder: Path) -> None:
    Path("run.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"^run\.yaml: the run file is not UTF-8 text\."):
        load_config("run.yaml")


def test_values_from_a_program_name_the_key() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"name": "x", "sources": {}, "tasks": {}, "train": {"step": 1}})
    assert str(caught.value).splitlines() == [
        "sources: needs at least 1 entry, has 0. Give a mapping.",
        "tasks: needs at least 1 entry, has 0. Give a mapping.",
        "train.step: unknown key 'step'; did you mean 'steps'? Allowed: steps, passes, eval_every, log_every, "
        "precision, objective, early_stop, quarantine, ema, compile, device.",
    ]
