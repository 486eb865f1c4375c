"""What networks and busy servers do to requests, on a real S3 server behind a proxy that does it."""

import logging
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from distmtl.errors import KeyExistsError, KeyMissingError
from distmtl.store import Store, open_store
from distmtl.store.claim import claim
from tests.services.ceph import CephServer
from tests.services.fault_proxy import Fault, FaultProxy, Rule

pytestmark = pytest.mark.s3

BIG = bytes(range(256)) * (40 * 2**10)
"""10 MiB: more than one part of an upload."""

FAULTS = [
    Rule(Fault.STATUS, status=503),
    Rule(Fault.STATUS, status=500),
    Rule(Fault.STATUS, status=429),
    Rule(Fault.RESET),
    Rule(Fault.RESET_REQUEST, bytes=50),
    Rule(Fault.RESET_RESPONSE, bytes=50),
    Rule(Fault.CUT_RESPONSE, bytes=50),
    Rule(Fault.LOSE_ANSWER),
]


def _operations(store: Store) -> dict[str, Callable[[], object]]:
    def stream() -> None:
        with store.writer("stream") as writer:
            writer.write(BIG)

    return {
        "put": lambda: store.put("small", b"small"),
        "put of parts": lambda: store.put("big", BIG),
        "claim": lambda: claim(store, "mine", b"my name, and that is long enough to be cut short in the middle of it"),
        "writer": stream,
        "get": lambda: store.get("big") == BIG,
        "get_range": lambda: store.get_range("big", 1000, 2**20) == BIG[1000 : 1000 + 2**20],
        "get_ranges": lambda: store.get_ranges("stream", [(0, 99), (2**20, 99)]) == [BIG[:99], BIG[2**20 : 2**20 + 99]],
        "size": lambda: store.size("small") == 5,
        "list": lambda: [entry.key for entry in store.list()] == ["big", "mine", "small", "stream"],
        "list_folders": lambda: store.list_folders() == [],
        "delete": lambda: store.delete(["big", "none"]),
        "clear": store.clear,
    }


@pytest.mark.parametrize("fault", FAULTS, ids=lambda rule: f"{rule.fault.name} {rule.status or ''}")
def test_every_operation_outlasts_a_fault(s3_uri: str, s3_proxy: FaultProxy, fault: Rule) -> None:
    store = open_store(s3_uri)
    for name, operation in _operations(store).items():
        rule = Rule(fault.fault, bytes=fault.bytes, status=fault.status, times=1)
        s3_proxy.rules[:] = [rule]
        assert operation() in {None, True}, name
        # faults in a body do nothing to requests or answers without one that is long enough
        assert rule.hits == 1 or fault.bytes, name
    assert store.list() == []


def test_a_busy_server_and_a_bad_network(s3_uri: str, s3_proxy: FaultProxy) -> None:
    """Half of all requests fail in one way or another, and nothing is lost, doubled or half there."""
    s3_proxy.rules[:] = [
        Rule(fault.fault, bytes=fault.bytes, status=fault.status, probability=0.08) for fault in FAULTS
    ]
    store, chance = open_store(s3_uri), random.Random(1)
    expected: dict[str, bytes] = {}
    for number in range(50):
        key = f"{chance.randrange(4)}/{chance.randrange(4)}"
        body = f"{number} ".encode() * chance.choice([1, 1000, 300_000])
        match chance.choice(["put", "claim", "writer", "get", "delete", "list"]):
            case "put":
                store.put(key, body)
                expected[key] = body
            case "claim" if key in expected:
                with pytest.raises(KeyExistsError):
                    claim(store, key, body)
            case "claim":
                claim(store, key, body)
                expected[key] = body
            case "writer":
                with store.writer(key) as writer:
                    writer.write(body)
                expected[key] = body
            case "get" if key in expected:
                assert store.get(key) == expected[key]
            case "get":
                with pytest.raises(KeyMissingError):
                    store.get(key)
            case "delete":
                store.delete([key])
                expected.pop(key, None)
            case "list":
                found = {entry.key: entry.size for entry in store.list()}
                assert found == {key: len(body) for key, body in expected.items()}
    s3_proxy.rules.clear()
    assert {entry.key: store.get(entry.key) for entry in store.list()} == expected
    faulty = sum(request.fault is not None for request in s3_proxy.requests)
    assert faulty > 0.3 * len(s3_proxy.requests)


def test_a_cut_answer_goes_on_where_it_was_cut(s3_uri: str, s3_proxy: FaultProxy) -> None:
    store = open_store(s3_uri)
    store.put("big", BIG)
    s3_proxy.requests.clear()
    s3_proxy.rules[:] = [Rule(Fault.RESET_RESPONSE, method="GET", bytes=10**6, times=1)]
    assert store.get_range("big", 100, 5 * 10**6) == BIG[100 : 100 + 5 * 10**6]
    assert [request.range for request in s3_proxy.requests] == ["bytes=100-5000099", "bytes=1000100-5000099"]


def test_a_server_that_says_nothing_is_asked_again(
    s3_uri: str, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distmtl.store.cloud.SILENCE_TIMEOUT_S", 1)
    store = open_store(s3_uri)
    for operation in (lambda: store.put("k", b"x"), lambda: store.get("k"), lambda: claim(store, "l", b"me")):
        s3_proxy.rules[:] = [Rule(Fault.HANG, times=1)]
        started = time.monotonic()
        operation()
        assert 1 <= time.monotonic() - started < 5
    s3_proxy.rules.clear()


def test_a_slow_line_is_not_silence(s3_uri: str, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """A part of an upload takes longer than an answer may, since nothing comes back while it is on its way."""
    monkeypatch.setattr("distmtl.store.cloud.SILENCE_TIMEOUT_S", 0.5)
    s3_proxy.rules[:] = [Rule(Fault.THROTTLE, method="PUT", bytes=10**6)]
    store = open_store(s3_uri)
    started = time.monotonic()
    store.put("put", BIG[: 15 * 10**5])
    with store.writer("stream") as writer:
        writer.write(BIG[: 15 * 10**5])
    assert time.monotonic() - started > 2.5
    assert store.get("put") == store.get("stream") == BIG[: 15 * 10**5]
    assert sum(request.method == "PUT" for request in s3_proxy.requests) == 2  # none was given up


def test_waiting_is_told_once_and_so_is_its_end(
    s3_uri: str, s3_proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("distmtl.store.connection.NOTICE_S", 0)
    store = open_store(s3_uri)
    assert store.size("k") is None
    s3_proxy.rules[:] = [Rule(Fault.STATUS)]
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(store.size, "k")
        time.sleep(3)
        assert not asked.done()
        s3_proxy.rules.clear()
        assert asked.result(timeout=20) is None
    said = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(said) == 2
    assert s3_uri in said[0]
    assert "503" in said[0]
    assert "answers again" in said[1]


def test_a_server_that_is_gone_for_a_while(s3_uri: str, s3_server: CephServer) -> None:
    store = open_store(s3_uri)
    store.put("read", BIG)
    body = os.urandom(24 * 2**20)
    started = threading.Event()

    def stream() -> None:
        with store.writer("stream") as writer:
            writer.write(body[: 10 * 2**20])
            started.set()
            time.sleep(1)
            writer.write(body[10 * 2**20 :])

    with ThreadPoolExecutor(4) as pool:
        streamed = pool.submit(stream)
        assert started.wait(30)
        s3_server.kill()
        try:
            waiting = [
                pool.submit(store.get_range, "read", 5, 10**6),
                pool.submit(claim, store, "mine", b"me"),
                pool.submit(store.list),
            ]
            time.sleep(10)
            assert not any(future.done() for future in [streamed, *waiting])
        finally:
            s3_server.start_gateway()
        began = time.monotonic()
        assert waiting[0].result(60) == BIG[5 : 5 + 10**6]
        waiting[1].result(60)
        assert {entry.key for entry in waiting[2].result(60)} >= {"read"}
        streamed.result(60)
        assert time.monotonic() - began < 30
    assert store.get("mine") == b"me"
    assert store.get("stream") == body
