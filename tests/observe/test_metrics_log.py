import json
import math
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distmtl.errors import StoreError
from distmtl.observe.metrics_log import MetricsLog, finite_json, read_metrics
from distmtl.store import open_store


class FailingStore:
    """A real store that refuses the first few puts."""

    def __init__(self, store, refusals):
        self._store = store
        self.refusals = refusals

    def put(self, key, data):
        if self.refusals:
            self.refusals -= 1
            raise StoreError("no connection.")
        self._store.put(key, data)


def test_lines_are_in_the_store_after_a_flush(tmp_path):
    store = open_store(str(tmp_path))
    log = MetricsLog(store, "metrics-7.jsonl", shortest_interval_s=60)
    log.write({"step": 20, "split": "train", "loss": math.nan, "tasks": {"a": {"loss": math.inf, "rows": 3}}})
    log.flush()
    assert store.get("metrics-7.jsonl").decode() == (
        '{"step":20,"split":"train","loss":null,"tasks":{"a":{"loss":null,"rows":3}}}\n'
    )
    log.write({"step": 40, "loss": 0.5})
    log.close()
    log.close()
    assert [line["step"] for line in read_metrics(store)] == [20, 40]


def test_lines_reach_the_store_by_themselves(tmp_path):
    store = open_store(str(tmp_path))
    log = MetricsLog(store, "metrics-1.jsonl", shortest_interval_s=0.02)
    log.write({"step": 1})
    end = time.monotonic() + 10
    while store.size("metrics-1.jsonl") is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    log.close()


def test_a_refused_put_loses_nothing(tmp_path):
    store = open_store(str(tmp_path))
    log = MetricsLog(FailingStore(store, refusals=1), "metrics-1.jsonl", shortest_interval_s=60)
    log.write({"step": 1})
    with pytest.raises(StoreError):
        log.flush()
    log.write({"step": 2})
    log.close()
    assert [line["step"] for line in read_metrics(store)] == [1, 2]


def test_later_attempts_supersede(tmp_path):
    store = open_store(str(tmp_path))
    for attempt, steps in {2: [20, 40, 60, 80], 9: [60, 80, 100], 10: [120]}.items():
        log = MetricsLog(store, f"metrics-{attempt}.jsonl", shortest_interval_s=60)
        for step in steps:
            log.write({"step": step, "attempt": attempt})
        log.close()
    store.put("metrics-old.jsonl", b"not one of them")
    merged = [(line["step"], line["attempt"]) for line in read_metrics(store)]
    assert merged == [(20, 2), (40, 2), (60, 9), (80, 9), (100, 9), (120, 10)]


def test_a_run_without_metrics(tmp_path):
    assert read_metrics(open_store(str(tmp_path))) == []


def test_scalars_of_libraries_become_numbers():
    values = {
        "a": np.float32(0.5),
        "b": np.int64(3),
        "c": torch.tensor(2.0),
        "d": np.float64("nan"),
        "e": (np.bool_(True),),
    }
    assert finite_json(values) == {"a": 0.5, "b": 3, "c": 2.0, "d": None, "e": [True]}


@given(
    st.recursive(
        st.floats() | st.integers() | st.text() | st.none(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_every_value_becomes_valid_json(value):
    json.loads(json.dumps(finite_json(value), allow_nan=False))


def test_a_fresh_start_supersedes_everything(tmp_path):
    store = open_store(str(tmp_path))
    for number, steps in ((1, (1, 2, 3)), (3, (2, 4))):
        text = "".join(f'{{"step": {step}, "split": "train", "attempt": {number}}}\n' for step in steps)
        store.put(f"metrics-{number}.jsonl", text.encode())
    steps = [(line["attempt"], line["step"]) for line in read_metrics(store, {1: 0, 2: 0, 3: 0})]
    assert steps == [(3, 2), (3, 4)]
    steps = [(line["attempt"], line["step"]) for line in read_metrics(store, {1: 0, 3: 1})]
    assert steps == [(1, 1), (3, 2), (3, 4)]
