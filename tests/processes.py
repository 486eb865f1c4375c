"""Runs a function in several real processes that form a gloo group."""

import multiprocessing
import os
import pickle
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

JOIN_TIMEOUT_S = 100


def run_workers(function: Callable[..., Any], size: int, *args: Any) -> list[Any]:
    """``function(world, *args)`` on every rank; the values it returned, in rank order.

    The function must be importable (module level), its arguments and value picklable.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        workers = [
            context.Process(target=_work, args=(function, rank, size, port, folder, args)) for rank in range(size)
        ]
        for worker in workers:
            worker.start()
        try:
            for worker in workers:
                worker.join(JOIN_TIMEOUT_S)
            codes = [worker.exitcode for worker in workers]
        finally:
            for worker in workers:
                if worker.is_alive():
                    worker.kill()
                    worker.join()
        assert codes == [0] * size, f"exit codes {codes}"
        return [pickle.loads((Path(folder) / str(rank)).read_bytes()) for rank in range(size)]


def _work(function: Callable[..., Any], rank: int, size: int, port: int, folder: str, args: tuple[Any, ...]) -> None:
    import torch

    from distmtl.parallel.process_group import start_process_group, stop_process_group
    from distmtl.parallel.world import current_world

    torch.set_num_threads(1)
    os.environ.update(
        RANK=str(rank), WORLD_SIZE=str(size), MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), GLOO_SOCKET_IFNAME="lo"
    )
    device = torch.device("cpu")
    start_process_group(device, timeout_s=60)
    value = function(current_world(device), *args)
    (Path(folder) / str(rank)).write_bytes(pickle.dumps(value))
    stop_process_group()
