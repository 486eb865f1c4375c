"""Workers on a Ray cluster, through Ray Train.

Ray places the workers, starts them together, sets up their process group, and ends them together. Each attempt is a
``TorchTrainer`` of its own, without Ray's restarts: an error that a worker raises is final here, while Ray would run
it again, and a loss is judged by the same policy as under torchrun. (Measured on two cores, from a killed worker to
the training function being entered again: 9.6 s; Ray's own restart with the same health check interval 6.1 s, as
its controller stays; with Ray's defaults 20.9 s.) Ray's storage is a folder that is thrown away: checkpoints are ours.
"""

import os
import re
import shutil
import tempfile
import textwrap
import threading
import uuid
from collections.abc import Sequence
from typing import Any

import ray
from ray.exceptions import RayError
from ray.train import FailureConfig, RunConfig, ScalingConfig, TrainingFailedError, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.train.v2.api.config import LoggingConfig

from distmtl.config.launch import LaunchSpec
from distmtl.observe.console import Console
from distmtl.observe.events import notice
from distmtl.orchestrate.failure import Failure
from distmtl.orchestrate.job import Job, Work, run_job
from distmtl.orchestrate.messages import Inbox
from distmtl.orchestrate.ray_channel import Order, open_channel
from distmtl.orchestrate.ray_cluster import Cluster, connect
from distmtl.orchestrate.ray_runtime import Assignment, run_assigned
from distmtl.orchestrate.resources import wants_gpus
from distmtl.orchestrate.signals import StopSignals
from distmtl.orchestrate.supervise import supervise
from distmtl.orchestrate.worker_environment import worker_environment
from distmtl.training.result import RunResult

POLL_S = 0.1
ABORT_S = 5.0
"""How long workers may take to end on the order to do so."""

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_CREDENTIALS = ("AWS_", "AZURE_", "GOOGLE_")
_TRANSPORT = ("GLOO_", "NCCL_", "TORCH_")


def run(job: Job, console: Console, work: Work = run_job) -> RunResult:
    """Do a job on a Ray cluster, started for it on this machine unless there is one to join.

    Raises:
        ResourceError: The cluster has fewer GPUs than workers, and ``train.device`` insists on them.
        DistmtlError: What a worker raised, or Interrupted, or TrainingStopped; see ``supervise``.
    """
    launch = job.config.launch
    with connect(launch.workers, launch.cpus_per_worker) as cluster:
        use_gpu = wants_gpus(job.config.train.device, launch.workers, int(cluster.gpus), "the Ray cluster")
        if cluster.cpus < launch.workers * launch.cpus_per_worker:
            console.show(notice(f"waiting for a Ray cluster with more than its {cluster.cpus:.0f} cores"))

        def attempt(inbox: Inbox, stop: StopSignals) -> str:
            folder = tempfile.mkdtemp(prefix="distmtl-ray-")
            try:
                assignment = Assignment(job, work, open_channel(), _credentials(), "cuda" if use_gpu else "cpu")
                return _attempt(assignment, _trainer(assignment, cluster, folder), inbox, stop)
            finally:
                shutil.rmtree(folder, ignore_errors=True)

        return supervise(attempt, launch.max_failures, console)


class _Fit:
    """``TorchTrainer.fit`` in a thread, so that the main one stays free for signals and messages."""

    def __init__(self, trainer: TorchTrainer) -> None:
        self._trainer = trainer
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="distmtl-ray-fit", daemon=True)
        self._thread.start()

    def ended(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._trainer.fit()
        except BaseException as error:  # judged by the main thread
            self.error = error


def _attempt(assignment: Assignment, trainer: TorchTrainer, inbox: Inbox, stop: StopSignals) -> str:
    channel = assignment.channel
    fit = _Fit(trainer)
    told = False
    try:
        while not fit.ended(POLL_S):
            inbox.receive(ray.get(channel.take.remote()))
            if stop.requested and not told:
                _order(channel, "stop")
                told = True
                inbox.receive(ray.get(channel.take.remote()))
                if not inbox.joined:
                    return ""
        inbox.receive(ray.get(channel.take.remote()))
    finally:
        if not fit.ended(0.0):
            _order(channel, "abort")
            fit.ended(ABORT_S)
        ray.kill(channel)
    return _loss(fit.error, inbox.failures)


def _order(channel: Any, order: Order) -> None:
    ray.get(channel.give_order.remote(order))


def _trainer(assignment: Assignment, cluster: Cluster, folder: str) -> TorchTrainer:
    config = assignment.job.config
    launch = config.launch
    use_gpu = assignment.device == "cuda"
    return TorchTrainer(
        run_assigned,
        train_loop_config={"assignment": ray.cloudpickle.dumps(assignment)},
        scaling_config=ScalingConfig(
            num_workers=launch.workers,
            use_gpu=use_gpu,
            resources_per_worker={"CPU": launch.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
        ),
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if use_gpu else "gloo", timeout_s=int(config.parallel.timeout_s)
        ),
        run_config=RunConfig(
            name=f"{config.name}-{uuid.uuid4().hex[:8]}",
            storage_path=folder,
            failure_config=FailureConfig(max_failures=0, controller_failure_limit=0),
            worker_runtime_env={"env_vars": _worker_variables(launch, cluster)},
            logging_config=LoggingConfig(log_level="ERROR"),
        ),
    )


def _worker_variables(launch: LaunchSpec, cluster: Cluster) -> dict[str, str]:
    """Variables that workers need from their very start; Ray shows them to whoever looks at the cluster."""
    ours = worker_environment(launch, dict(os.environ))
    names = {"OMP_NUM_THREADS", "PYTHONPATH"} | {name for name in os.environ if name.startswith(_TRANSPORT)}
    if cluster.local:
        names.add("GLOO_SOCKET_IFNAME")
    return {name: ours[name] for name in names if name in ours}


def _credentials() -> dict[str, str]:
    """Variables that stores need; they travel with the job, where nobody sees them."""
    return {name: value for name, value in os.environ.items() if name.startswith(_CREDENTIALS)}


def _loss(error: BaseException | None, failures: Sequence[Failure]) -> str:
    """What is known of an attempt that ended without a result and without an error that explains it.

    Raises:
        BaseException: The error, where it is none of Ray's.
    """
    if error is None:
        return ""
    if not isinstance(error, WorkerGroupError):
        if not isinstance(error, TrainingFailedError | RayError):
            raise error
        return f"Ray Train ended with {type(error).__name__} ({_first_line(error)})"
    silent = error.worker_failures.keys() - {failure.rank for failure in failures}
    return f"worker {min(silent)} was lost ({_first_line(error.worker_failures[min(silent)])})" if silent else ""


def _first_line(error: BaseException) -> str:
    line = _COLOUR.sub("", str(error)).partition("\n")[0]
    return textwrap.shorten(line.rstrip("."), 160)
