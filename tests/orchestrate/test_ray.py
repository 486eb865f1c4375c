import os
import signal
from pathlib import Path

import drivers
import pytest
import works

from distmtl.errors import SourceError, TrainingStopped, WorkerError
from distmtl.observe.console import Lines, Silent
from distmtl.orchestrate.job import Job

# Ray's own modules warn of Ray's own deprecations.
pytestmark = [pytest.mark.ray, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]


@pytest.fixture(scope="module")
def ray_run():
    from distmtl.orchestrate import ray_driver
    from distmtl.orchestrate.ray_cluster import connect

    def run(folder: Path, work, workers: int = 2, console=None, **launch):
        return ray_driver.run(Job(works.config(folder, "ray", workers, **launch)), console or Silent(), work)

    with connect(workers=3, cpus_per_worker=1):
        yield run


def starts(folder: Path) -> list[int]:
    ranks = [int(file.name.split("-")[1]) for file in folder.glob("start-*")]
    return [ranks.count(rank) for rank in range(2)]


@pytest.mark.slow
def test_more_workers_than_cores(ray_run, tmp_path, capfd):
    result = ray_run(tmp_path, works.add_ranks, workers=3, console=Lines())
    assert result.world_size == 3
    assert result.extra["total"] == 6.0
    assert result.extra["threads"] == "1"
    assert result.extra["folder"] == str(Path.cwd())
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err.splitlines() == [
        "r starts: 5 steps on 3 workers",
        "step 5/5  1 rows/s, 0s left  loss: t 0.1",
        "step 5 checkpoint uri",
    ]


def test_a_users_exception_is_final_and_its_traceback_is_kept(ray_run, tmp_path, capfd):
    with pytest.raises(WorkerError, match="worker 1: ValueError: a bad transform") as caught:
        ray_run(tmp_path, works.fail_on_last)
    assert starts(tmp_path) == [1, 1]
    (note,) = caught.value.__notes__
    assert note.count("Traceback") == 1
    assert "works.py" in note
    assert capfd.readouterr() == ("", "")


def test_an_input_error_arrives_as_itself(ray_run, tmp_path, capfd):
    with pytest.raises(SourceError, match=r"data/s: there is no column 'x'\."):
        ray_run(tmp_path, works.bad_source)
    assert starts(tmp_path) == [1, 1]
    assert capfd.readouterr() == ("", "")


def test_a_killed_worker_is_replaced(ray_run, tmp_path, capfd):
    result = ray_run(tmp_path, works.die_once, console=Lines())
    assert result.extra["starts"] == 2
    shown = capfd.readouterr()
    assert shown.out == ""
    assert shown.err == "worker 1 was lost (A worker health check failed); restart 1 of at most 3\n"


def test_restarts_are_counted(ray_run, tmp_path):
    with pytest.raises(TrainingStopped, match=r"worker 0 was lost .* launch.max_failures \(0\)"):
        ray_run(tmp_path, works.die_always, max_failures=0)
    assert starts(tmp_path) == [1, 1]


def test_what_workers_print_is_shown(ray_run, tmp_path, capfd):
    ray_run(tmp_path, works.print_and_stop, console=Lines())
    shown = capfd.readouterr()
    assert shown.out == ""
    assert sorted(shown.err.splitlines()) == ["printed by worker 0", "printed by worker 1"]


# A terminal sends SIGINT to the whole process group, a scheduler SIGTERM to the process.
@pytest.mark.parametrize(
    ("send", "number"), [(os.killpg, signal.SIGINT), pytest.param(os.kill, signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_stops_after_a_checkpoint(tmp_path, send, number):
    with drivers.driver("ray", 2, "until_stopped", tmp_path) as process:
        drivers.worker_pids(tmp_path, 2)
        started = drivers.descendants(process.pid)
        send(process.pid, number)
        out, err = process.communicate(timeout=90)
    assert process.returncode == 3, err
    assert out == ""
    said = ["", "stopping after a checkpoint; Ctrl-C again abandons it"] if number == signal.SIGINT else []
    assert err.splitlines() == [
        *said,
        "step 7 checkpoint uri",
        f"{tmp_path}: The run was stopped after step 7. Run the same command again to go on from the last checkpoint.",
    ]
    drivers.wait_for(lambda: not any(map(drivers.is_alive, started)), 20)


@pytest.mark.slow
def test_a_second_interrupt_aborts_at_once(tmp_path):
    with drivers.driver("ray", 2, "deaf", tmp_path) as process:
        drivers.worker_pids(tmp_path, 2)
        started = drivers.descendants(process.pid)
        process.send_signal(signal.SIGINT)
        drivers.wait_for((tmp_path / "asked").exists, 10)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode not in (0, 3)
    drivers.wait_for(lambda: not any(map(drivers.is_alive, started)), 20)


@pytest.mark.slow
def test_nothing_outlives_a_killed_driver(tmp_path):
    with drivers.driver("ray", 2, "until_stopped", tmp_path) as process:
        pids = drivers.worker_pids(tmp_path, 2)
        started = drivers.descendants(process.pid)
        process.kill()
        drivers.wait_for(lambda: not any(map(drivers.is_alive, pids)), 15)
        # Two agents of the dead raylet wait a minute before they believe it.
        drivers.wait_for(lambda: not any(map(drivers.is_alive, started)), 120)
