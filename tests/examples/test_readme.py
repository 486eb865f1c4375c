"""What README says works, word for word."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

README = (Path(__file__).parent.parent.parent / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def _commands() -> list[list[str]]:
    """Every distmtl command of the code blocks, in order."""
    lines = [line.partition(" #")[0].strip() for block in _blocks("bash") for line in block.splitlines()]
    return [shlex.split(line) for line in lines if line.startswith("distmtl ")]


def _run(folder: Path, *command: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def _write_tables(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for split, rows in (("train", 3000), ("valid", 400), ("test", 400)):
        age, visits = rng.integers(18, 80, rows), rng.poisson(4, rows)
        table = pd.DataFrame(
            {
                "age": age,
                "visits": visits,
                "country": rng.choice(["de", "fr", "pl"], rows),
                "device": rng.choice(["phone", "laptop", None], rows),
                "clicked": np.where(visits + rng.normal(size=rows) > 4, "yes", "no"),
                "spent": 3.0 * visits + rng.normal(size=rows),
                "genre": np.where(age > 60, "news", np.where(age > 35, "film", "music")),
            }
        )
        table.loc[rng.random(rows) < 0.2, "clicked"] = None
        table.to_csv(folder / f"{split}.csv", index=False)


@pytest.mark.ray
def test_your_own_data(tmp_path: Path) -> None:
    _write_tables(tmp_path)
    (run_file,) = _blocks("yaml")
    (tmp_path / "shop.yaml").write_text(run_file)
    commands = _commands()
    assert [command[1] for command in commands] == ["pack", "source", "check", "train", "eval"]
    for command in commands:
        output = _run(tmp_path, sys.executable, "-m", *command)
    score = re.search(r"click +[0-9.]+ +([0-9.]+)", output)
    assert score is not None
    assert float(score[1]) > 0.9
    (program,) = _blocks("python")
    assert "click" in _run(tmp_path, sys.executable, "-c", program)


@pytest.mark.dist
@pytest.mark.parametrize("how", ["--runtime inline", "--runtime torchrun"])
def test_scaling_out_on_this_machine(tmp_path: Path, how: str) -> None:
    assert how in README
    _write_tables(tmp_path)
    (tmp_path / "shop.yaml").write_text(_blocks("yaml")[0])
    _run(tmp_path, sys.executable, "-m", *_commands()[0])
    _run(tmp_path, sys.executable, "-m", "distmtl", "train", "shop.yaml", *how.split())
