import time

import pytest

from distmtl.data.prefetch import Prefetch


@pytest.fixture
def started():
    opened = []

    def start(make, horizon=None, limit_items=8):
        opened.append(Prefetch(make, 0, horizon, limit_items, 1000))
        return opened[-1]

    yield start
    for prefetch in opened:
        prefetch.close()


def test_items_of_groups_come_one_by_one_and_end_at_the_horizon(started):
    prefetch = started(lambda step, horizon: ([*range(step, min(horizon, step + 3))], 3), horizon=7)
    assert [prefetch.get() for _ in range(8)] == [*range(7), None]
    prefetch.extend(9)
    assert [prefetch.get() for _ in range(3)] == [7, 8, None]


def test_an_error_comes_after_the_items_before_it(started):
    def make(step, horizon):
        if step:
            raise OSError("gone")
        return [0, 1], 2

    prefetch = started(make)
    assert [prefetch.get(), prefetch.get()] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        prefetch.get()


def test_a_consumer_that_waited_is_left_alone_for_as_long_as_making_took(started, monkeypatch):
    monkeypatch.setattr("distmtl.data.prefetch.PAUSE_S", 60.0)
    made = []

    def make(step, horizon):
        made.append(step)
        time.sleep(0.3)
        return [step, step + 1], 2

    prefetch = started(make)
    assert prefetch.get() == 0
    time.sleep(0.1)
    assert made == [0]
    assert [prefetch.get(), prefetch.get()] == [1, 2]  # asking ends the pause
    assert made == [0, 2]
    deadline = time.monotonic() + 10
    while len(made) < 4 and time.monotonic() < deadline:  # one that takes its time has the next ones made ahead
        time.sleep(0.01)
    assert made[:4] == [0, 2, 4, 6]
