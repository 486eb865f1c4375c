"""The process that transforms rows. It imports no torch, and ends with its parent."""

import os
import pickle
import threading
import time
from collections.abc import Mapping
from multiprocessing.connection import Connection

from distmtl.data.transforms.chain import RowFailure
from distmtl.data.transforms.pool import Task
from distmtl.data.transforms.rows import Groups, Recipe, Rows
from distmtl.errors import InputError

_LOOK_S = 1.0
"""How often it looks whether its parent is still there."""


def main(fd: int, parent: int) -> None:
    """Answer tasks until the parent closes the connection.

    Args:
        fd: The socket to the parent.
        parent: Its process id.
    """
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with Connection(fd) as connection:
        try:
            recipes: Mapping[str, Recipe] = pickle.loads(connection.recv_bytes())
            made: dict[str, Rows] = {}
            while True:
                tasks: list[Task] = pickle.loads(connection.recv_bytes())
                connection.send_bytes(pickle.dumps(_answer(recipes, made, tasks), protocol=5))
        except (EOFError, OSError):
            return


def _answer(
    recipes: Mapping[str, Recipe], made: dict[str, Rows], tasks: list[Task]
) -> list[Groups] | RowFailure | InputError:
    answers = []
    for task in tasks:
        try:
            if task.source not in made:
                made[task.source] = Rows(recipes[task.source])
            answers.append(made[task.source](task.columns, task.keys, task.rows))
        except (RowFailure, InputError) as error:
            return error
    return answers


def _end_with(parent: int) -> None:
    """End this process when its parent has ended, though a transform may be under way."""
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
