"""What goes wrong, as a person meets it: one clear line, the right exit code, no process left, nothing half-written."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.data.options import PackOptions
from distmtl.data.packing import pack
from tests.runs import run_config, write_sources


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def values(uris: dict[str, str], tmp_path: Path) -> dict[str, Any]:
    """A run file that works."""
    config = run_config(uris, tmp_path / "runs", train={"steps": 20, "eval_every": 10})
    return config.model_dump(mode="json", exclude_unset=True)


def run(folder: Path, values: dict[str, Any] | str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """``distmtl train`` in a process of its own; nothing of its session may be left afterwards."""
    process = start(folder, values, *arguments)
    output, errors = process.communicate(timeout=90)
    _assert_no_orphan(process.pid)
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def start(folder: Path, values: dict[str, Any] | str, *arguments: str) -> subprocess.Popen[str]:
    run_file = folder / "run.yaml"
    run_file.write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return subprocess.Popen(
        [sys.executable, "-m", "distmtl", "train", "run.yaml", *arguments],
        cwd=folder,
        env=os.environ | {"OMP_NUM_THREADS": "1", "DISTMTL_TEST_OF": str(folder)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def _assert_no_orphan(session: int, timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while left := _processes_of(session):
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)


def _processes_of(session: int) -> list[str]:
    """Command lines of the processes that were started, directly or not, by the leader of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[3]) == session and fields[0] != "Z":
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except OSError:
            continue
    return found


def assert_one_line(result: subprocess.CompletedProcess[str], code: int, *parts: str) -> None:
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert result.returncode == code, result.stderr
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    for part in parts:
        assert part in lines[0]


def test_an_unknown_key(values: dict[str, Any], tmp_path: Path) -> None:
    values["optim"]["learning_rate"] = 0.1
    result = run(tmp_path, values, "--runtime", "inline")
    assert_one_line(result, 2, "run.yaml:", "optim.learning_rate", "unknown key")
    assert not (tmp_path / "runs").exists()


def test_a_wrong_type(values: dict[str, Any], tmp_path: Path) -> None:
    values["batch"]["rows"] = "many"
    assert_one_line(run(tmp_path, values), 2, "run.yaml:", "batch.rows", "many")


def test_a_missing_file(values: dict[str, Any], tmp_path: Path) -> None:
    values["sources"]["shop"]["uri"] = str(tmp_path / "nowhere")
    assert_one_line(run(tmp_path, values), 2, "sources.shop.uri", "nowhere")
    missing = subprocess.run(
        [sys.executable, "-m", "distmtl", "train", "none.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_one_line(missing, 2, "none.yaml")


def test_a_target_that_is_not_there(values: dict[str, Any], tmp_path: Path) -> None:
    values["tasks"]["click"]["target"] = "clik"
    assert_one_line(run(tmp_path, values, "--runtime", "inline"), 2, "tasks.click.target", "'clik'", "'click'")


def test_a_label_out_of_range(values: dict[str, Any], tmp_path: Path) -> None:
    values["tasks"]["click"] |= {"target": "price", "kind": "binary"}
    assert_one_line(run(tmp_path, values, "--runtime", "inline"), 2, "tasks.click.target", "price")


def test_an_empty_source(values: dict[str, Any], tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": pa.array([], pa.float32())}), tmp_path / "empty.parquet")
    result = subprocess.run(
        [sys.executable, "-m", "distmtl", "pack", "empty.parquet", "--out", "packed"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert_one_line(result, 2, "empty.parquet")
    assert not (tmp_path / "packed").exists()


def test_a_source_that_has_changed_since_the_checkpoint(values: dict[str, Any], tmp_path: Path) -> None:
    table = pa.table({"x": [float(i) for i in range(200)], "y": [i % 2 for i in range(200)]})
    pq.write_table(table, tmp_path / "train.parquet")
    pack({"train": [str(tmp_path / "train.parquet")]}, str(tmp_path / "packed"))
    values["sources"] = {"only": {"uri": str(tmp_path / "packed"), "inputs": {"dense": ["x"]}}}
    values["tasks"] = {"y": {"source": "only", "target": "y", "kind": "binary"}}
    assert run(tmp_path, values, "--runtime", "inline").returncode == 0
    pq.write_table(table.slice(0, 150), tmp_path / "train.parquet")
    pack({"train": [str(tmp_path / "train.parquet")]}, str(tmp_path / "packed"), PackOptions(overwrite=True))
    before = find(open_run_uri(str(tmp_path / "runs" / "small")))
    result = run(tmp_path, values, "--runtime", "inline", "--set", "train.steps=30")
    assert_one_line(result, 2, "sources.only.uri", "packed")
    assert find(open_run_uri(str(tmp_path / "runs" / "small"))) == before


def test_a_store_that_cannot_be_written(values: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    values["store"] = str(tmp_path / "file" / "runs")
    assert_one_line(run(tmp_path, values, "--runtime", "inline"), 2, str(tmp_path / "file"))


def test_more_gpu_workers_than_gpus(values: dict[str, Any], tmp_path: Path) -> None:
    values["train"]["device"] = "cuda"
    assert_one_line(run(tmp_path, values, "--runtime", "torchrun", "--workers", "64"), 2, "64", "GPU")
    assert not (tmp_path / "runs").exists()


@pytest.mark.dist
def test_a_port_in_use_is_not_used(values: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as usual:
        try:
            usual.bind(("127.0.0.1", 29500))
            usual.listen()
        except OSError:
            assert usual.getsockname()[1] == 0  # in use already, which serves as well
        result = run(tmp_path, values, "--runtime", "torchrun", "--workers", "2")
    assert result.returncode == 0, result.stderr


def test_a_loss_that_is_not_a_number(values: dict[str, Any], tmp_path: Path) -> None:
    values["optim"] = {"kind": "sgd", "lr": 1e160}
    values["checkpoint"]["every"] = 1
    result = run(tmp_path, values, "--runtime", "inline")
    assert_one_line(result, 4, "step", "not finite")
    for ref in find(open_run_uri(str(tmp_path / "runs" / "small"))):
        assert ref.step < 5


@pytest.mark.dist
@pytest.mark.parametrize("runtime", [pytest.param("inline", marks=pytest.mark.slow), "torchrun"])
def test_ctrl_c_commits_and_ends_with_3(values: dict[str, Any], tmp_path: Path, runtime: str) -> None:
    values["train"] |= {"steps": 100_000, "eval_every": None}
    values["checkpoint"]["every"] = None
    workers = "1" if runtime == "inline" else "2"
    process = start(tmp_path, values, "--runtime", runtime, "--workers", workers)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("step"):
            break
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the whole foreground group
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 3, errors
    assert "Traceback" not in errors
    _assert_no_orphan(process.pid)
    (ref,) = find(open_run_uri(str(tmp_path / "runs" / "small")))
    again = run(
        tmp_path, values, "--runtime", "inline", "--set", f"train.steps={ref.step + 5}", "--allow-change", "train"
    )
    assert again.returncode == 0, again.stderr
    assert f"after step {ref.step + 5:,}" in again.stdout
