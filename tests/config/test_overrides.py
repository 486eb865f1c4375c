from pathlib import Path

import pytest

from distmtl.config import load_config
from distmtl.errors import ConfigError

VALID = Path(__file__).with_name("valid.yaml").read_text()


@pytest.fixture(autouse=True)
def run_file(folder: Path) -> None:
    Path("run.yaml").write_text(VALID)


def line(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config("run.yaml", overrides)
    return str(caught.value)


def test_values_are_typed_by_yaml() -> None:
    config = load_config(
        "run.yaml",
        ["optim.lr=3e-4", "batch.rows=64", "train.eval_every=null", "tasks.income.metrics=[f1]", "optim.clip_norm=2"],
    )
    assert config.optim.lr == 3e-4  # type: ignore[union-attr]
    assert config.batch.rows == 64
    assert config.train.eval_every is None
    assert config.tasks["income"].metrics == ("f1",)
    assert config.optim.clip_norm == 2.0  # type: ignore[union-attr]


def test_the_last_one_wins_and_a_value_may_hold_an_equals_sign() -> None:
    config = load_config("run.yaml", ["store=a", "seed=1", "store=s3://b/c?x=y", "seed=2"])
    assert (config.store, config.seed) == ("s3://b/c?x=y", 2)


def test_another_kind_replaces_the_choice() -> None:
    config = load_config("run.yaml", ["sampling.kind=uniform", "sampling.per=step"])
    assert config.sampling.model_dump() == {"kind": "uniform", "per": "step", "delay_steps": 16}


def test_a_task_may_change_its_kind_alone() -> None:
    config = load_config("run.yaml", ["tasks.wage.kind=multiclass"])
    assert config.tasks["wage"].target == "y_wage"


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.stepz=5", "--set train.stepz=5: train.stepz: unknown key 'stepz'; did you mean 'steps'? Allowed: "
                          "steps, passes, eval_every, log_every, precision, objective, early_stop, "
                          "quarantine, ema, compile, device."),
        ("train.steps=many", "--set train.steps=many: train.steps: expected an integer or null, got text 'many'."),
        ("seed.x=1", "--set seed.x=1: seed: expected an integer, got a mapping."),
        ("sampling.kind=temprature", "--set sampling.kind=temprature: sampling.kind: unknown sampler 'temprature'; "
                                     "did you mean 'temperature'? "
                                     "Allowed: proportional, uniform, temperature, custom."),
        ("tasks.wage.source=adutl", "--set tasks.wage.source=adutl: tasks.wage.source: unknown source 'adutl'; "
                                    "did you mean 'adult'? Allowed: adult."),
        ("tasks.wgae.weight=2", "--set tasks.wgae.weight=2: tasks.wgae: unknown task 'wgae'; did you mean 'wage'? "
                                "Allowed: income, wage."),
        ("train.steps", "--set train.steps: expected KEY=VALUE. Write for example --set optim.lr=3e-4."),
        ("=5", "--set =5: expected KEY=VALUE. Write for example --set optim.lr=3e-4."),
        ("a..b=5", "--set a..b=5: expected KEY=VALUE. Write for example --set optim.lr=3e-4."),
        ("model.trunk=[1", "--set model.trunk=[1: model.trunk: the value is not YAML: while parsing a flow sequence, "
                           "expected ',' or ']', but got '<stream end>'. Quote it for the shell."),
        ("name=7", '--set name=7: name: expected text, got the integer 7. Write it in quotes: "7".'),
        ("base=x.yaml", "--set base=x.yaml: base: 'base' can only stand in a file. Write a run file that inherits."),
    ],
)  # fmt: skip
def test_line(override: str, expected: str) -> None:
    assert line(override) == expected


def test_a_missing_key_is_not_blamed_on_an_override_beside_it() -> None:
    Path("run.yaml").write_text(VALID.replace("  steps: 100\n", ""))
    assert line("train.log_every=5") == "run.yaml:23: train: give either 'steps' or 'passes'."
