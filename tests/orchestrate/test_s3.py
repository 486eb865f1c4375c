"""Whole runs with all they read and write on a real S3 server, behind a bad network; and none of it shows."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.data import open_source
from distmtl.data.batch import StepBatch
from distmtl.data.loader import Loader
from distmtl.orchestrate import train
from distmtl.orchestrate.assemble import assemble, open_loader
from distmtl.orchestrate.prepare import prepare
from distmtl.parallel.world import Solo
from distmtl.store import open_store
from tests.runs import losses, run_config, tensors, write_sources
from tests.services.ceph import CephServer
from tests.services.fault_proxy import Fault, FaultProxy, Rule

pytestmark = pytest.mark.s3

STEPS = {"steps": 120, "log_every": 1, "eval_every": 60, "precision": "fp64"}
CHECKPOINTS = {"every": 40, "keep_last": 20}
BUSY = [
    Rule(Fault.STATUS, method="GET", probability=0.3),
    Rule(Fault.RESET, method="GET", probability=0.1),
    Rule(Fault.RESET_RESPONSE, method="GET", probability=0.1, bytes=300),
    Rule(Fault.DELAY, method="GET", probability=0.2, seconds=0.1),
]


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Sources in folders."""
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture
def remote(local: dict[str, str], s3_uri: str) -> dict[str, str]:
    """The same sources on the server."""
    for name, folder in local.items():
        for path in Path(folder).rglob("*"):
            if path.is_file():
                open_store(f"{s3_uri}/{name}").put(str(path.relative_to(folder)), path.read_bytes())
    return {name: f"{s3_uri}/{name}" for name in local}


@pytest.fixture
def _block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read sources of this size as large ones are read, and keep nothing of them."""
    monkeypatch.setattr("distmtl.data.feed.RESIDENT_BYTES", 0)
    monkeypatch.setattr("distmtl.data.feed.CACHE_BYTES", 0)


def _loader(uris: dict[str, str], folder: Path) -> Loader:
    config = run_config(uris, folder, train=STEPS, launch={"cache": {"bytes": 0}})
    prepared = prepare(config)
    return open_loader(prepared, assemble(prepared, Solo()), Solo(), 0)


def _assert_same(batches: list[StepBatch], expected: list[StepBatch]) -> None:
    for batch, other in zip(batches, expected, strict=True):
        assert batch.quotas == other.quotas
        for ours, theirs in zip(batch.sources, other.sources, strict=True):
            assert torch.equal(ours.positions, theirs.positions)
            for name, tensor in {**ours.inputs, **ours.targets}.items():
                wanted = {**theirs.inputs, **theirs.targets}[name]
                torch.testing.assert_close(tensor, wanted, rtol=0, atol=0, equal_nan=True)


def _take(loader: Loader, count: int) -> list[StepBatch]:
    return [next(loader) for _ in range(count)]


@pytest.mark.usefixtures("_block_by_block")
def test_the_rows_are_the_same_behind_a_bad_network(
    local: dict[str, str], remote: dict[str, str], s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    with _loader(local, tmp_path) as loader:
        expected = _take(loader, 20)
    with _loader(remote, tmp_path) as loader:
        s3_proxy.requests.clear()
        s3_proxy.rules[:] = BUSY
        _assert_same(_take(loader, 20), expected)
    faulty = sum(request.fault is not None for request in s3_proxy.requests)
    assert faulty > 0.4 * len(s3_proxy.requests) > 10


@pytest.mark.usefixtures("_block_by_block")
def test_a_byte_that_flips_on_the_way_is_fetched_again(
    local: dict[str, str], remote: dict[str, str], s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    with _loader(local, tmp_path) as loader:
        expected = _take(loader, 5)
    with _loader(remote, tmp_path) as loader:
        flip = Rule(Fault.FLIP, method="GET", bytes=100, times=1)
        s3_proxy.rules[:] = [flip]
        _assert_same(_take(loader, 5), expected)
    assert flip.hits == 1


@pytest.mark.slow
@pytest.mark.usefixtures("_block_by_block")
@pytest.mark.parametrize(
    ("leave", "come_back"),
    [(CephServer.kill, CephServer.start_gateway), (CephServer.pause, CephServer.resume)],
    ids=["killed", "silent"],
)
def test_training_waits_for_a_server_that_is_gone_for_20_s(
    local: dict[str, str],
    remote: dict[str, str],
    s3_server: CephServer,
    tmp_path: Path,
    leave: Callable[[CephServer], None],
    come_back: Callable[[CephServer], None],
) -> None:
    with _loader(local, tmp_path) as loader:
        expected = _take(loader, 120)
    with _loader(remote, tmp_path) as loader, ThreadPoolExecutor(1) as pool:
        taken = _take(loader, 5)
        leave(s3_server)
        rest = pool.submit(_take, loader, 115)
        try:
            time.sleep(20)
            assert not rest.done()
        finally:
            come_back(s3_server)
        _assert_same(taken + rest.result(timeout=60), expected)


def test_two_workers_of_a_node_fetch_each_block_once(
    remote: dict[str, str], s3_proxy: FaultProxy, s3_uri: str, tmp_path: Path
) -> None:
    config = run_config(remote, f"{s3_uri}/runs", train={"steps": 40, "eval_every": 20})
    s3_proxy.requests.clear()
    train(config, runtime="torchrun", workers=2)
    fetched = Counter((request.key, request.range) for request in s3_proxy.requests if "/shards/" in request.key)
    assert set(fetched.values()) == {1}
    blocks = [open_source(uri).split(split).blocks for uri in remote.values() for split in ("train", "valid")]
    assert len(fetched) == sum(blocks)


@pytest.fixture
def whole(local: dict[str, str], tmp_path: Path) -> str:
    """A run on folders that nothing disturbs."""
    return train(
        run_config(local, tmp_path, name="whole", train=STEPS, checkpoint=CHECKPOINTS), runtime="inline", workers=1
    ).run


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "distmtl", *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def _ran(process: subprocess.Popen[str], code: int) -> tuple[str, str]:
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code, errors
    assert "Traceback" not in errors
    return output, errors


def _kill_after_a_checkpoint(process: subprocess.Popen[str], uri: str, step: int) -> None:
    try:
        deadline = time.monotonic() + 90
        while not any(ref.step >= step for ref in find(open_run_uri(uri))):
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < deadline, "no checkpoint in time"
            time.sleep(0.05)
    finally:
        process.kill()
        process.communicate()


def test_pack_train_kill_and_resume(
    local: dict[str, str], whole: str, s3_uri: str, s3_proxy: FaultProxy, tmp_path: Path
) -> None:
    """The commands of a person, with all of it on the server."""
    packing = {
        name: _start(
            tmp_path, "pack", f"{Path(folder).parent}/raw/{name}", "--block-rows", "32", "--out", f"{s3_uri}/{name}"
        )
        for name, folder in local.items()
    }
    for process in packing.values():
        _ran(process, 0)
    uris = {name: f"{s3_uri}/{name}" for name in local}
    config = run_config(uris, f"{s3_uri}/runs", name="killed", train=STEPS, checkpoint=CHECKPOINTS)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True)))
    s3_proxy.rules[:] = [
        Rule(Fault.STATUS, probability=0.1),
        Rule(Fault.LOSE_ANSWER, method="PUT", probability=0.1),
        Rule(Fault.LOSE_ANSWER, method="POST", probability=0.1),
        Rule(Fault.CUT_RESPONSE, probability=0.05, bytes=100),
    ]
    uri = f"{s3_uri}/runs/killed"
    _kill_after_a_checkpoint(_start(tmp_path, "train", "run.yaml"), uri, 40)
    assert find(open_run_uri(uri))[0].step < 120
    output, _ = _ran(_start(tmp_path, "train", "run.yaml", "--json"), 0)
    assert json.loads(output.splitlines()[-1])["step"] == 120
    s3_proxy.rules.clear()
    np.testing.assert_array_equal(losses(uri), losses(whole))
    wanted = tensors(whole)
    for name, tensor in tensors(uri).items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=0, msg=name)


@pytest.fixture
def run_file(remote: dict[str, str], s3_uri: str, tmp_path: Path) -> Iterator[Path]:
    config = run_config(remote, f"{s3_uri}/runs")
    values: dict[str, Any] = config.model_dump(mode="json", exclude_unset=True)
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(values))
    yield tmp_path / "run.yaml"
    assert "runs" not in {folder.rpartition("/")[2] for folder in open_store(s3_uri).list_folders()}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, "AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "AWS_ACCESS_KEY_ID"),
    ],
)
def test_wrong_credentials_are_one_line(
    run_file: Path, monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], said: str
) -> None:
    with monkeypatch.context() as context:
        for name, value in changed.items():
            context.setenv(name, value)
        process = _start(run_file.parent, "train", "run.yaml")
    _, errors = _ran(process, 2)
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1
    assert said in lines[0]
    assert "403" in lines[0]
    assert "hunter2" not in errors
