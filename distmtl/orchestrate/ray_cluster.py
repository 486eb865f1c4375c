"""The Ray cluster that a run uses: one that is there, or one that is started for it on this machine."""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from distmtl.orchestrate.resources import joins_cluster

OBJECT_STORE_BYTES = 100_000_000
"""Nothing but messages goes through Ray, so the smallest object store that Ray allows is about enough."""

_SETTINGS = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # workers stay in the user's working folder
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",  # the default of 2 s delays the start, the end and every restart
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # one process less; nothing here asks it
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # silences a warning about a future default
    "TORCH_PROCESS_GROUP_SHUTDOWN_TIMEOUT_S": "2",  # a broken group never shuts down well
}
_LOCAL_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # a training run sends nothing to anybody
}


@dataclass(frozen=True)
class Cluster:
    """A connection to Ray.

    Attributes:
        local: Whether the cluster is this machine alone, started for this run.
        cpus: Cores that it has.
        gpus: GPUs that it has.
    """

    local: bool
    cpus: float
    gpus: float


@contextlib.contextmanager
def connect(workers: int, cpus_per_worker: int) -> Iterator[Cluster]:
    """Join the cluster of RAY_ADDRESS, or the one that this process is already connected to, or start one here.

    A local cluster offers as many cores as the workers want, even where the machine has fewer: they then share them.
    What this block started or connected, it shuts down or disconnects.
    """
    local = not joins_cluster()
    settings = _SETTINGS | _LOCAL_SETTINGS if local else _SETTINGS
    ours = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(ours)  # Ray reads them when it is imported, and in the processes that it starts
    import ray

    connected_before = ray.is_initialized()
    if local:
        ray.init(
            address="local",
            num_cpus=max(os.cpu_count() or 1, workers * cpus_per_worker),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    elif not connected_before:
        ray.init(log_to_driver=False, logging_level="ERROR", runtime_env={"env_vars": ours})
    try:
        with _quiet_raylet():
            resources = ray.cluster_resources()
            yield Cluster(local, resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        if not connected_before:
            ray.shutdown()


@contextlib.contextmanager
def _quiet_raylet() -> Iterator[None]:
    """Keep Ray from printing a paragraph of its own for every worker that is lost; the console says it in a line."""
    from ray._private import worker

    before = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_args, **_kwargs: None
    try:
        yield
    finally:
        worker.print_to_stdstream = before
