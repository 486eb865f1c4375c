import os
import signal
import subprocess
import sys

import drivers
import pytest
import works

from distmtl.errors import ConfigError, Interrupted, ResourceError, SourceError, StoreError
from distmtl.observe.console import Lines
from distmtl.orchestrate import train
from distmtl.orchestrate.resources import check_resources, wants_gpus


def test_inline_runs_here(tmp_path, capfd):
    result = train(works.config(tmp_path, "ray", 2), runtime="inline", workers=1, work=works.add_ranks, console=Lines())
    assert result.extra["workers"] == [(os.getpid(), 0)]
    assert "step 5 checkpoint uri" in capfd.readouterr().err


def test_inline_errors_pass_through(tmp_path):
    with pytest.raises(SourceError) as caught:
        train(works.config(tmp_path, "inline", 1), work=works.bad_source)
    assert not hasattr(caught.value, "__notes__")


def test_inline_stops_on_a_signal_and_puts_the_handlers_back(tmp_path):
    def interrupt(job, runtime):
        assert not runtime.stop_requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert runtime.stop_requested()
        return works.result(job, runtime, step=4, stopped="interrupted")

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with pytest.raises(Interrupted, match="after step 4") as caught:
        train(works.config(tmp_path, "inline", 1), work=interrupt)
    assert caught.value.exit_code == 3
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_second_interrupt_aborts(tmp_path):
    def insist(job, runtime):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        raise AssertionError("not reached")

    with pytest.raises(KeyboardInterrupt):
        train(works.config(tmp_path, "inline", 1), work=insist)


def test_inline_has_one_worker(tmp_path):
    with pytest.raises(ConfigError, match="runs 1 worker, not 2"):
        train(works.config(tmp_path, "inline", 2), work=works.add_ranks)


def test_overrides_are_checked(tmp_path):
    with pytest.raises(ConfigError, match=r"launch.workers: .* not 0"):
        train(works.config(tmp_path, "inline", 1), workers=0, work=works.add_ranks)


@pytest.mark.parametrize("runtime", ["ray", "torchrun"])
def test_a_store_in_memory_is_for_one_process(runtime):
    config = works.config("memory://runs", runtime, 1)
    with pytest.raises(StoreError, match="lives in one process"):
        train(config, work=works.add_ranks)


def test_gpus_are_counted_where_they_are_asked_for():
    assert not wants_gpus("cpu", 2, 8, "this machine")
    assert wants_gpus("auto", 2, 2, "this machine")
    assert not wants_gpus("auto", 2, 1, "this machine")
    with pytest.raises(ResourceError, match=r"this machine has 1 GPU\. Use at most 1 worker"):
        wants_gpus("cuda", 2, 1, "this machine")
    with pytest.raises(ResourceError, match=r"has 0 GPUs\. Use train\.device cpu or auto"):
        wants_gpus("cuda", 1, 0, "this machine")


def test_sharing_cores_is_only_said(tmp_path):
    (said,) = check_resources(works.config(tmp_path, "torchrun", 10_000))
    assert "share" in said
    assert check_resources(works.config(tmp_path, "torchrun", 1)) == []


def test_a_process_that_starts_others_loads_neither_torch_nor_ray():
    modules = "distmtl.orchestrate.api, distmtl.orchestrate.torchrun"
    code = f"import sys, {modules}; print({{'ray', 'torch'}} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=drivers.HERE)
    assert ran.stdout == "set()\n"
