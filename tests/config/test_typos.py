"""Whatever single key is misspelt, the error names the line of that key."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distmtl.config import load_config
from distmtl.config.schema import run_schema
from distmtl.errors import ConfigError

LINES = """\
name: adult
seed: 3
sources:
  adult:
    uri: data/adult
    inputs: {dense: [age], categorical: [sex]}
    weight: w
tasks:
  income:
    source: adult
    target: y_income
    kind: binary
    loss:
      kind: bce
      imbalance: balanced
    metrics: [auroc]
    weight: 2.0
model:
  kind: hard_sharing
  trunk:
    kind: tabular_mlp
    hidden: [8]
    dropout: 0.1
  heads:
    income:
      kind: mlp
      hidden: [4]
sampling:
  kind: temperature
  tau: 2.0
  per: row
balancing:
  kind: fixed
  weights: {income: 2.0}
batch:
  rows: 64
  lanes: 2
optim:
  kind: adamw
  lr: 1e-3
  schedule:
    kind: cosine
    warmup_steps: 10
train:
  steps: 10
  eval_every: 5
  early_stop:
    metric: income/auroc
    patience: 2
parallel:
  strategy: ddp
checkpoint:
  every: 5
  keep_best:
    metric: mean/auroc
store: runs
launch:
  runtime: inline
  workers: 1
""".splitlines()

ALLOWED = {key for model in run_schema()["$defs"].values() for key in model["properties"]}
FREE_NAMES = {"adult", "income"}
ALLOWED |= set(run_schema()["properties"])
KEY_LINES = [i for i, line in enumerate(LINES) if line.split(":")[0].strip() not in FREE_NAMES]


def load(lines: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.yaml")
        path.write_text("\n".join(lines))
        try:
            load_config(path)
        except ConfigError as error:
            raise ConfigError(str(error).replace(f"{folder}/", "")) from None


def test_the_file_is_valid() -> None:
    load(LINES)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_misspelt_key_is_named_with_its_line(data: st.DataObject) -> None:
    number = data.draw(st.sampled_from(KEY_LINES))
    indent = len(LINES[number]) - len(LINES[number].lstrip())
    key, rest = LINES[number].strip().split(":", 1)
    place = data.draw(st.integers(0, len(key)))
    letter = data.draw(st.sampled_from("abcdefghijklmnopqrstuvwxyz_"))
    change = data.draw(st.sampled_from(["insert", "delete", "replace", "swap"]))
    typo = {
        "insert": key[:place] + letter + key[place:],
        "delete": key[:place] + key[place + 1 :],
        "replace": key[:place] + letter + key[place + 1 :],
        "swap": key[:place] + key[place : place + 2][::-1] + key[place + 2 :],
    }[change]
    assume(typo and typo not in ALLOWED)
    lines = [*LINES[:number], f"{' ' * indent}{typo}:{rest}", *LINES[number + 1 :]]
    with pytest.raises(ConfigError) as caught:
        load(lines)
    blamed = [line for line in str(caught.value).splitlines() if line.startswith(f"run.yaml:{number + 1}: ")]
    assert any(f"unknown key '{typo}'" in line for line in blamed), str(caught.value)
