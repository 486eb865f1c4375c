import gc
import threading

import numpy as np
import pyarrow as pa
import pytest
import torch

from distmtl.store.buffers import SMALLEST_BYTES, Buffers

SIZE = 3 * 2**20 + 5

VIEWS = {
    "the buffer": lambda taken: taken,
    "a part": lambda taken: taken[7:9],
    "an array": np.asarray,
    "an array of numbers": lambda taken: taken[: 2**20].view(np.float32).reshape(-1, 2),
    "a memoryview": lambda taken: taken.data[3:],
    "an array of a memoryview": lambda taken: np.frombuffer(taken.data, np.uint8)[5:],
    "an arrow array": lambda taken: pa.Array.from_buffers(pa.binary(8), 4, [None, pa.py_buffer(taken.data)]),
    "a tensor": lambda taken: torch.from_numpy(taken)[1:],
    "a tensor of an array of a tensor": lambda taken: torch.from_numpy(torch.from_numpy(taken).numpy()).view(-1),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_buffer_comes_back_with_its_last_view(view):
    buffers = Buffers(2**30)
    taken = buffers.take(SIZE)
    address = taken.ctypes.data
    held = view(taken)
    del taken
    gc.collect()
    other = buffers.take(SIZE)
    assert other.ctypes.data != address
    del held
    gc.collect()
    assert buffers.take(SIZE).ctypes.data == address


def test_it_has_the_size_asked_for():
    buffers = Buffers(2**30)
    for size in (0, 1, SMALLEST_BYTES - 1, SMALLEST_BYTES, SIZE):
        assert buffers.take(size).nbytes == size


def test_no_more_is_kept_than_allowed():
    buffers = Buffers(4 * 2**20)
    taken = [buffers.take(SIZE) for _ in range(5)]
    taken.clear()
    gc.collect()
    assert sum(len(free) for free in buffers._free.values()) == 1


def test_threads_never_share_one():
    buffers, wrong = Buffers(2**30), []

    def work(mark):
        for _ in range(200):
            taken = buffers.take(SMALLEST_BYTES)
            taken[:4096] = mark
            other = torch.from_numpy(taken)
            del taken
            wrong.extend(other[:4096].unique().tolist() if not bool((other[:4096] == mark).all()) else [])

    threads = [threading.Thread(target=work, args=(mark,)) for mark in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
