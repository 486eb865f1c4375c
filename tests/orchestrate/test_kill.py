"""The resume law, with real kills of real processes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from distmtl.checkpoint.attempt import read_attempts
from distmtl.checkpoint.commit import COMMIT, find
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.run import open_run_uri
from distmtl.orchestrate import train
from distmtl.parallel.world import Solo
from tests.checkpoint.states import same
from tests.runs import losses, run_config, tensors, write_sources

STEPS = {"steps": 300, "log_every": 1, "eval_every": 150, "precision": "fp64"}
CHECKPOINTS = {"every": 50, "keep_last": 20}


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sources"))


def _start(folder: Path, config: Any, *arguments: str) -> subprocess.Popen[str]:
    run_file = folder / "run.yaml"
    run_file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    return subprocess.Popen(
        [sys.executable, "-m", "distmtl", "train", str(run_file), "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _kill_a_worker_after(uri: str, step: int) -> None:
    """SIGKILL worker 0 once a checkpoint of ``step`` or later is committed."""
    run = open_run_uri(uri)
    deadline = time.monotonic() + 60
    while not any(ref.step >= step for ref in find(run)):
        assert time.monotonic() < deadline, "no checkpoint in time"
        time.sleep(0.02)
    owner = read_attempts(run)[1].owner
    os.kill(int(re.findall(r"process (\d+)", owner)[0]), signal.SIGKILL)


@pytest.mark.dist
def test_a_killed_run_goes_on_as_if_nothing_had_happened(uris: dict[str, str], tmp_path: Path) -> None:
    sections: dict[str, Any] = {"train": STEPS, "checkpoint": CHECKPOINTS, "launch": {"max_failures": 0}}
    whole = {
        workers: train(
            run_config(uris, tmp_path, name=f"whole-{workers}", **sections), runtime=runtime, workers=workers
        )
        for workers, runtime in ((1, "inline"), (2, "torchrun"))
    }
    config = run_config(uris, tmp_path, name="killed", **sections)
    victim = _start(tmp_path, config, "--runtime", "torchrun", "--workers", "2")
    uri = str(tmp_path / "killed")
    _kill_a_worker_after(uri, 100)
    _, errors = victim.communicate(timeout=60)
    assert victim.returncode == 4, errors
    assert "SIGKILL" in errors
    assert "Traceback" not in errors

    # what a kill between the last data file and COMMIT.json leaves
    run = open_run_uri(uri)
    newest = find(run)[0]
    assert 100 <= newest.step < 300
    torn = tmp_path / "killed" / "checkpoints" / "step-00000299" / f"a-1-{newest.key.rpartition('-')[2]}"
    shutil.copytree(tmp_path / "killed" / newest.key, torn)
    (torn / COMMIT).unlink()
    for name in ("same", "other"):
        shutil.copytree(tmp_path / "killed", tmp_path / name)

    same = _start(tmp_path, config.model_copy(update={"name": "same"}), "--runtime", "torchrun", "--workers", "2")
    output, errors = same.communicate(timeout=60)
    assert same.returncode == 0, errors
    result = json.loads(output.splitlines()[-1])
    assert (result["step"], result["world_size"]) == (300, 2)
    assert not (tmp_path / "same" / torn.relative_to(tmp_path / "killed")).exists()
    _assert_same(str(tmp_path / "same"), whole[2].run, 0.0)

    train(config.model_copy(update={"name": "other"}), runtime="inline", workers=1)
    _assert_same(str(tmp_path / "other"), whole[1].run, 1e-9)


STATEFUL = (
    "uncertainty", "dwa", "famo", "gradnorm", "gradvac", "db_mtl", "excess_mtl", "sdmgrad", "stch", "imtl_l",
)  # fmt: skip
"""Balancers with a state, besides MoCo."""


@pytest.mark.dist
@pytest.mark.slow
@pytest.mark.parametrize("kind", ["moco", *STATEFUL])
def test_a_killed_sharded_run_remembers_what_its_balancer_knew(uris: dict[str, str], tmp_path: Path, kind: str) -> None:
    sections: dict[str, Any] = {
        "balancing": {"kind": kind, **({"every": 7} if kind == "dwa" else {})},
        "parallel": {"strategy": "fsdp"},
        "train": {"steps": 60, "log_every": 1, "eval_every": None, "precision": "fp64"},
        "checkpoint": {"every": 5, "keep_last": 20},
        "launch": {"max_failures": 0},
    }
    whole = train(run_config(uris, tmp_path, name="whole", **sections), runtime="torchrun", workers=2)
    config = run_config(uris, tmp_path, name="killed", **sections)
    arguments = ("--runtime", "torchrun", "--workers", "2")
    victim = _start(tmp_path, config, *arguments)
    uri = str(tmp_path / "killed")
    _kill_a_worker_after(uri, 10)
    _, errors = victim.communicate(timeout=60)
    assert victim.returncode == 4, errors
    assert 10 <= find(open_run_uri(uri))[0].step < 60

    output, errors = _start(tmp_path, config, *arguments).communicate(timeout=60)
    assert json.loads(output.splitlines()[-1])["step"] == 60, errors
    assert tensors(uri).keys() == tensors(whole.run).keys()
    _assert_same(uri, whole.run, 0.0)
    states = [_balancer_state(run) for run in (uri, whole.run)]
    assert same(*states), states


def _balancer_state(uri: str) -> Any:
    run = open_run_uri(uri)
    return load(run, find(run)[0], Solo()).values["balancer"]


def _assert_same(uri: str, expected: str, tolerance: float) -> None:
    np.testing.assert_allclose(losses(uri), losses(expected), rtol=tolerance, atol=tolerance)
    wanted = tensors(expected)
    for name, tensor in tensors(uri).items():
        torch.testing.assert_close(tensor, wanted[name], rtol=tolerance, atol=tolerance, msg=name)
