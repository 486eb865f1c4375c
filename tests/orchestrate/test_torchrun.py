import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import drivers
import pytest
import works

from distmtl.errors import SourceError, TrainingStopped, WorkerError
from distmtl.observe.console import Lines, Silent
from distmtl.orchestrate import torchrun
from distmtl.orchestrate.job import Job

pytestmark = pytest.mark.dist


def run(folder: Path, work, workers: int = 2, console=None, **launch):
    return torchrun.run(Job(works.config(folder, "torchrun", workers, **launch)), console or Silent(), work)


def starts(folder: Path) -> list[int]:
    ranks = [int(file.name.split("-")[1]) for file in folder.glob("start-*")]
    return [ranks.count(rank) for rank in range(2)]


def test_workers_reduce_and_report(tmp_path, capfd):
    result = run(tmp_path, works.add_ranks, console=Lines(), cpus_per_worker=2)
    assert result.world_size == 2
    assert result.extra["total"] == 3.0
    assert result.extra["threads"] == "2"
    assert result.extra["folder"] == str(Path.cwd())
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "r starts: 5 steps on 2 workers",
        "step 5/5  1 rows/s, 0s left  loss: t 0.1",
        "step 5 checkpoint uri",
    ]
    assert not any(drivers.is_alive(pid) for pid, _ in result.extra["workers"])


def test_a_users_exception_is_final_and_its_traceback_is_kept(tmp_path, capfd):
    with pytest.raises(WorkerError, match="worker 1: ValueError: a bad transform") as caught:
        run(tmp_path, works.fail_on_last)
    assert starts(tmp_path) == [1, 1]
    (note,) = caught.value.__notes__
    assert note.count("Traceback") == 1
    assert "works.py" in note
    assert capfd.readouterr() == ("", "")


def test_an_input_error_arrives_as_itself(tmp_path, capfd):
    with pytest.raises(SourceError, match=r"data/s: there is no column 'x'\.") as caught:
        run(tmp_path, works.bad_source)
    assert caught.value.exit_code == 2
    assert starts(tmp_path) == [1, 1]
    assert capfd.readouterr() == ("", "")


def test_a_killed_worker_is_replaced(tmp_path, capfd):
    result = run(tmp_path, works.die_once, console=Lines())
    assert result.extra["starts"] == 2
    assert "worker 1 was killed by SIGKILL (out of memory?); restart 1 of at most 3" in capfd.readouterr().err


def test_restarts_are_counted(tmp_path, capfd):
    with pytest.raises(TrainingStopped, match=r"SIGKILL .* launch.max_failures \(1\)"):
        run(tmp_path, works.die_always, max_failures=1)
    assert starts(tmp_path) == [2, 2]
    assert capfd.readouterr() == ("", "")


# A terminal sends SIGINT to the whole process group, a scheduler SIGTERM to the process.
@pytest.mark.parametrize(("send", "number"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_a_signal_stops_after_a_checkpoint(tmp_path, send, number):
    with drivers.driver("torchrun", 2, "until_stopped", tmp_path) as process:
        pids = drivers.worker_pids(tmp_path, 2)
        send(process.pid, number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert out == ""
    assert "stopped after step 7" in err
    assert "Traceback" not in err
    assert not any(map(drivers.is_alive, pids))


def test_a_second_interrupt_aborts_at_once(tmp_path):
    with drivers.driver("torchrun", 2, "deaf", tmp_path) as process:
        pids = drivers.worker_pids(tmp_path, 2)
        process.send_signal(signal.SIGINT)
        drivers.wait_for((tmp_path / "asked").exists, 10)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
    assert process.returncode not in (0, 3)
    drivers.wait_for(lambda: not any(map(drivers.is_alive, pids)), 10)


def test_nothing_outlives_a_killed_driver(tmp_path):
    with drivers.driver("torchrun", 2, "until_stopped", tmp_path) as process:
        drivers.worker_pids(tmp_path, 2)
        started = drivers.descendants(process.pid)
        process.kill()
        assert len(started) >= 3
        drivers.wait_for(lambda: not any(map(drivers.is_alive, started)), 20)


def test_train_under_torchrun_is_one_of_its_workers(tmp_path):
    script = Path(drivers.HERE, "drive.py")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    ran = subprocess.run(
        [*launcher, "--nproc-per-node", "2", str(script), "ray", "1", "add_ranks", str(tmp_path)],
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert ran.returncode == 0, ran.stderr
    results = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [result["total"] for result in results] == [3.0, 3.0]
    assert ran.stderr.count("r starts") == 1
