"""The limit on a machine's requests: kept among processes, given back by killed ones, never in the way for ever."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from distmtl.errors import StoreError
from distmtl.store.slots import Slots, node_slots


def _hold(folder: str, count: int) -> tuple[float, float]:
    with Slots(count, Path(folder)).hold():
        begun = time.monotonic()
        time.sleep(0.02)
        return begun, time.monotonic()


def _hold_in_threads(folder: str, count: int) -> list[tuple[float, float]]:
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(lambda _: _hold(folder, count), range(8)))


@pytest.mark.parametrize("count", [1, 3])
def test_threads_of_all_processes_share_the_slots(tmp_path: Path, count: int) -> None:
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        held = [span for spans in pool.starmap(_hold_in_threads, [(str(tmp_path), count)] * 2) for span in spans]
    assert len(held) == 16
    assert max(sum(other[0] <= begun < other[1] for other in held) for begun, _ in held) == count


def test_a_killed_process_gives_its_slot_back(tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom pathlib import Path\nfrom distmtl.store.slots import Slots\n"
        "with Slots(1, Path(sys.argv[1])).hold():\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    holder = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    with holder.stdout:
        assert holder.stdout.readline() == b"held\n"
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    started = time.monotonic()
    _hold(str(tmp_path), 1)
    assert time.monotonic() - started < 5


def test_a_slot_that_never_comes_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distmtl.store.slots.GIVE_UP_S", 0.1)
    with Slots(1, tmp_path).hold():
        _hold(str(tmp_path), 1)


def test_without_a_limit_nothing_is_written(tmp_path: Path) -> None:
    _hold(str(tmp_path / "slots"), 0)
    assert not (tmp_path / "slots").exists()


def test_the_environment_sets_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    node_slots.cache_clear()
    monkeypatch.setenv("DISTMTL_STORE_REQUESTS", "many")
    with pytest.raises(StoreError, match="'many'"):
        node_slots()
    monkeypatch.setenv("DISTMTL_STORE_REQUESTS", "2")
    with node_slots().hold():
        assert len(list((tmp_path / f"distmtl-requests-{os.getuid()}").iterdir())) == 1
    node_slots.cache_clear()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder away")
def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "slots"
    folder.mkdir()
    os.chown(folder, 12345, 12345)
    with pytest.raises(StoreError, match="belongs to somebody else"):
        _hold(str(folder), 1)
