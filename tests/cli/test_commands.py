"""The commands on a real run, trained in this process."""

import json
from pathlib import Path

import pytest

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from tests.cli.conftest import Invoke, last_json


@pytest.fixture(autouse=True)
def in_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(home)


def test_train_ends_with_a_table_and_one_json_object(trained, home: Path) -> None:
    lines = trained.stdout.splitlines()
    assert lines[0].split() == ["task", "accuracy", "auroc", "f1", "loss"]
    assert [line.split()[0] for line in lines[1:3]] == ["color", "tall"]
    values = last_json(trained)
    assert values["run"] == f"{home}/runs/tiny"
    assert (values["step"], values["world_size"], values["stopped"]) == (6, 1, "done")
    assert set(values["tasks"]["tall"]) == {"auroc", "f1", "loss"}  # type: ignore[index]
    assert trained.stdout.count("{") == json.dumps(values).count("{")
    assert "tiny" in trained.stderr


def test_train_again_has_nothing_to_do(trained, invoke: Invoke) -> None:
    result = invoke("train", "run.yaml")
    assert result.exit_code == 0, result.output
    assert "runs/tiny: done after step 6" in result.stdout
    assert "next: distmtl eval runs/tiny --split test" in result.stdout


def test_train_refuses_a_run_of_another_config(trained, invoke: Invoke) -> None:
    result = invoke("train", "run.yaml", "--set", "optim.lr=5", "--set", "seed=2")
    assert result.exit_code == 2
    assert [line.split(": ")[0] for line in result.stderr.splitlines()] == ["error E210"] * 2
    assert "--allow-change optim.lr" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "none.yaml"), "error E210: none.yaml: cannot read the run file"),
        (("train", "run.yaml", "--set", "optim.lrr=1"), "error E210: --set optim.lrr=1: optim.lrr: unknown key 'lrr'"),
        (("train", "run.yaml", "--workers", "0"), "Invalid value for '--workers'"),
        (("train", "run.yaml", "--runtime", "slurm"), "Invalid value for '--runtime'"),
        (("train", "run.yaml", "--set", "sources.people.uri=no"), "there is no source here."),
        (("check", "run.yaml", "--set", "tasks.tall.target=tell"), "tasks.tall.target: "),
        (("eval", "runs/tiny", "--step", "first"), "'first' is not a step, 'best' or 'last'."),
        (("eval", "runs/none"), "error E240: "),
        (("show", "runs/none"), "error E240: "),
        (("checkpoints", "runs/none"), "error E240: "),
    ],
)
def test_wrong_input_exits_2_with_a_line(trained, invoke: Invoke, arguments: tuple[str, ...], message: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert result.stdout == ""


def test_eval_measures_each_row_once(trained, invoke: Invoke) -> None:
    result = invoke("eval", "runs/tiny", "--split", "valid", "--json")
    assert result.exit_code == 0, result.output
    values = last_json(result)
    assert (values["split"], values["step"]) == ("valid", 6)
    assert values["tasks"] == last_json(trained)["tasks"]


def test_runs(trained, invoke: Invoke, home: Path) -> None:
    result = invoke("runs", "runs", "--json")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split()[:2] == ["tiny", "6"]
    assert "tall/auroc" in result.stdout
    values = last_json(result)
    assert values["store"] == f"{home}/runs"
    assert [run["name"] for run in values["runs"]] == ["tiny"]  # type: ignore[attr-defined, index]


def test_runs_of_a_folder_without_any(trained, invoke: Invoke) -> None:
    assert invoke("runs", "packed").stdout == "There are no runs in packed.\n"


def test_show(trained, invoke: Invoke) -> None:
    result = invoke("show", "runs/tiny", "--json")
    assert result.exit_code == 0, result.output
    assert "step        6 of 6 (100%)" in result.stdout
    assert "by 1 worker\n" in result.stdout
    assert "the beginning" in result.stdout
    assert "training at step 6: loss" in result.stdout
    assert "metrics of split 'valid' at step 6" in result.stdout
    assert last_json(result)["config"]["tasks"]["tall"]["target"] == "tall"  # type: ignore[index]


def test_checkpoints_are_listed_newest_first(trained, invoke: Invoke) -> None:
    result = invoke("checkpoints", "runs/tiny", "--verify", "--json")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()[1:3]]
    assert [row[0] for row in rows] == ["6", "3"]
    assert "mean/auroc" in result.stdout
    found = last_json(result)["checkpoints"]
    assert [item["damage"] for item in found] == ["", ""]  # type: ignore[attr-defined]


def test_a_flipped_bit_is_found(trained, invoke: Invoke, tmp_path: Path, home: Path) -> None:
    copy = tmp_path / "tiny"
    for path in (home / "runs/tiny").rglob("*"):
        if path.is_file():
            target = copy / path.relative_to(home / "runs/tiny")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    newest = find(open_run_uri(str(copy)))[0]
    data = next(path for path in sorted((copy / newest.key).rglob("*.bin")) if path.stat().st_size)
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    result = invoke("checkpoints", copy, "--verify")
    assert result.exit_code == 2
    assert "damaged" in result.stdout
    assert "1 of 2 checkpoints are damaged" in result.stderr
    assert invoke("checkpoints", copy).exit_code == 0


def test_check_shows_what_is_known(trained, invoke: Invoke) -> None:
    result = invoke("check", "run.yaml", "--json")
    assert result.exit_code == 0, result.output
    for text in (
        "6 steps of 32 rows on 1 worker",
        "people.tall",
        "memory  ",
        "checkpoint  ",
        "can be written",
        "a run of the same config; 'train' goes on from step 6",
        "an estimate",
        "next: distmtl train run.yaml",
    ):
        assert text in result.stdout
    values = last_json(result)
    assert values["steps"] == 6
    assert values["sources"][0]["passes"] == 2.0  # type: ignore[index]


def test_check_leaves_nothing_behind(trained, invoke: Invoke, home: Path) -> None:
    before = sorted(str(path) for path in home.rglob("*"))
    assert invoke("check", "run.yaml").exit_code == 0
    assert sorted(str(path) for path in home.rglob("*")) == before
