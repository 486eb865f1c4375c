"""The processes of transforms: what they leave behind when they, or their parent, die. Nothing, and a clear error."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from distmtl.data.loader import Loader
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Plan
from distmtl.errors import ConfigError, WorkerError
from distmtl.features import InputGroup, TensorColumn
from tests.data.memory import layouts
from tests.data.transforms.memory import custom, transformed_source

ROOT = Path(__file__).parents[3]
WHOLE_IMAGE = (InputGroup("image", "tensor", (TensorColumn("image", "int32", (1, 4, 5)),)),)


def loader(transform, workers=2, rows=8):
    source = transformed_source("s", 640, 64, (transform,), WHOLE_IMAGE)
    plan = Plan(layouts([source]), 1, 1, 0)
    return Loader([source], plan, Mixture.constant({"s": 1}, rows), transform_workers=workers)


def children():
    """Process ids of this process's transform workers."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"transforms.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def wait_until(condition, seconds=10.0):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return condition()


def is_alive(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    ("how", "said"),
    [(3, "ended with exit code 3"), (-9, "was killed by signal 9.*kills for memory"), (-11, "was killed by signal 11")],
)
def test_a_worker_that_dies_is_an_error_at_its_step(how, said):
    with loader(custom("Dies", row=100, how=how)) as batches:
        with pytest.raises(WorkerError, match=rf"transform worker [01] of 2 {said}"):
            list(batches)
        with pytest.raises(WorkerError, match=said):
            next(batches)
    assert not children()


def test_a_loader_that_is_closed_leaves_nothing(tmp_path):
    before = threading.active_count()
    batches = loader(custom("Sleeps", folder=str(tmp_path), seconds=0.01))
    for _ in range(5):
        next(batches)
    assert len(children()) == 2
    batches.close()
    assert not children()
    assert threading.active_count() == before
    assert next(batches).step == 5  # it starts anew
    batches.close()
    assert not children()


def test_closing_does_not_wait_for_a_transform(tmp_path):
    batches = loader(custom("Sleeps", folder=str(tmp_path), seconds=60))
    waiting = threading.Thread(target=lambda: next(batches, None))
    waiting.start()
    assert wait_until(lambda: list(tmp_path.iterdir()))
    began = time.monotonic()
    batches.close()
    waiting.join(10)
    assert time.monotonic() - began < 5
    assert not waiting.is_alive()
    assert not children()


def test_a_forgotten_loader_ends_its_processes(tmp_path):
    batches = loader(custom("Sleeps", folder=str(tmp_path), seconds=0.01))
    next(batches)
    assert children()
    del batches
    assert wait_until(lambda: not children())


PROGRAM = """
import itertools, sys, time
from tests.data.transforms.test_pool import custom, loader

batches = loader(custom("Sleeps", folder=sys.argv[1], seconds=float(sys.argv[2])))
{last}
"""


def start(tmp_path, seconds, last):
    script = tmp_path / "script.py"
    script.write_text(PROGRAM.format(last=last))
    folder = tmp_path / "pids"
    folder.mkdir()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return folder, subprocess.Popen([sys.executable, str(script), str(folder), str(seconds)], env=environment)


@pytest.mark.parametrize("seconds", [0.01, 60])
def test_no_orphan_outlives_a_parent_that_is_killed(tmp_path, seconds):
    folder, process = start(tmp_path, seconds, "for _ in batches: pass")
    try:
        assert wait_until(lambda: len(list(folder.iterdir())) == 2, 30)
        workers = [int(path.name) for path in folder.iterdir()]
        assert all(map(is_alive, workers))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert wait_until(lambda: not any(map(is_alive, workers)), 5)


def test_a_program_without_a_main_guard(tmp_path):
    folder, process = start(tmp_path, 0.01, "list(itertools.islice(batches, 6))")
    assert process.wait(60) == 0
    workers = [int(path.name) for path in folder.iterdir()]
    assert len(workers) == 2
    assert not any(map(is_alive, workers))


def test_ctrl_c_is_left_to_the_parent(tmp_path):
    with loader(custom("Sleeps", folder=str(tmp_path), seconds=0.01)) as batches:
        next(batches)
        assert wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
        for pid in children():
            os.kill(pid, signal.SIGINT)
            os.kill(pid, signal.SIGTERM)
        assert [next(batches).step for _ in range(40)] == list(range(1, 41))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_transform_that_cannot_be_built(workers):
    with (
        loader(custom("Unread"), workers) as batches,
        pytest.raises(ConfigError, match=r"sources\.s\.transforms\.0: it reads column 'picture'"),
    ):
        next(batches)
