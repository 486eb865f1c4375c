"""Which failures are waited out, and for how long; without a server, since nothing here depends on what one says."""

from collections.abc import Callable, Iterator

import pytest
from obstore.exceptions import GenericError

from distmtl.store.address import parse_uri
from distmtl.store.cloud import Client
from distmtl.store.connection import LONGEST_WAIT_S, Connection, Patience

BUSY = GenericError("status code: 503 Service Unavailable")
FORBIDDEN = GenericError("status code: 403 Forbidden")
NO_ROLE = GenericError("Error performing PUT http://169.254.169.254/latest/api/token - status code: 503")


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Waits that are over at once, by a clock of their own."""
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)
    monkeypatch.setattr("time.monotonic", lambda: sum(slept))
    return slept


@pytest.fixture
def connection() -> Connection:
    return Connection(parse_uri("memory://nothing"))


def script(*steps: Exception | str) -> Callable[[Client], str]:
    """A request that fails and succeeds as it is told; the last step goes on for ever."""
    left: Iterator[Exception | str] = iter([*steps, *[steps[-1]] * 10_000])

    def request(client: Client) -> str:
        step = next(left)
        if isinstance(step, Exception):
            raise step
        return step

    return request


def test_what_may_pass_is_waited_out(connection: Connection, waits: list[float]) -> None:
    assert connection.ask(script(BUSY, BUSY, BUSY, "answer")) == "answer"
    assert len(waits) == 3


def test_what_does_not_pass_is_raised_at_once(connection: Connection, waits: list[float]) -> None:
    with pytest.raises(GenericError, match="403"):
        connection.ask(script(FORBIDDEN, "answer"))
    assert waits == []


@pytest.mark.parametrize(("before", "patience"), [((), 30), (("answer",), 180), ((FORBIDDEN,), 180)])
def test_patience_is_longer_with_a_store_that_has_answered(
    connection: Connection, waits: list[float], before: tuple[Exception | str, ...], patience: int
) -> None:
    for step in before:
        try:
            connection.ask(script(step))
        except GenericError:
            assert step is FORBIDDEN
    with pytest.raises(GenericError, match="503"):
        connection.ask(script(BUSY))
    assert sum(waits) == pytest.approx(patience)
    assert max(waits) <= LONGEST_WAIT_S


def test_a_role_that_does_not_answer_is_waited_for_once_there_was_one(
    connection: Connection, waits: list[float]
) -> None:
    for _ in range(2):  # the first time is no answer
        with pytest.raises(GenericError, match="token"):
            connection.ask(script(NO_ROLE, "answer"))
    assert waits == []
    assert connection.ask(script("answer")) == "answer"
    assert connection.ask(script(NO_ROLE, NO_ROLE, "answer")) == "answer"
    assert len(waits) == 2


def test_waits_differ_from_worker_to_worker(waits: list[float]) -> None:
    """A thousand workers whose requests fail at the same instant come back spread over the whole wait."""
    firsts, fifths = [], []
    for _ in range(1000):
        waits.clear()
        patience = Patience(1e9)
        for _ in range(5):
            patience.wait()
        firsts.append(waits[0])
        fifths.append(waits[4])
    for waited, longest in ((firsts, 0.2), (fifths, 3.2)):
        tenths = [int(10 * wait / longest) for wait in waited]
        assert all(60 < tenths.count(tenth) < 150 for tenth in range(10))
