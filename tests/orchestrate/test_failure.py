import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.errors import DistmtlError, NonFiniteError, SourceError, WorkerError
from distmtl.orchestrate.failure import (
    LONGEST_DELAY_S,
    RESTARTS_WITHOUT_COMMIT,
    Failure,
    Loss,
    Retry,
    Stop,
    as_error,
    exit_cause,
    is_collateral,
    on_failure,
    worst,
)

GLOO = "[/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:20716."


class Unpicklable(DistmtlError):
    def __init__(self, one, two):
        super().__init__(f"{one} {two}")


def caught(error: BaseException, rank: int = 0) -> Failure:
    try:
        raise error
    except BaseException as raised:
        return Failure.of(raised, rank)


def losses(*committed: int) -> list[Loss]:
    return [Loss("worker 1 was lost", step) for step in committed]


def test_the_first_restart_is_immediate():
    assert on_failure(losses(-1), max_failures=3) == Retry(0.0)


def test_no_restart_without_leave():
    assert on_failure(losses(100), max_failures=0) == Stop(
        "worker 1 was lost, and launch.max_failures (0) restarts are used up"
    )


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12).map(sorted), st.integers(0, 20))
def test_restarts_end(steps, max_failures):
    decision = on_failure(losses(*steps), max_failures)
    idle = steps.count(steps[-1]) - 1
    if len(steps) > max_failures or idle >= RESTARTS_WITHOUT_COMMIT:
        assert isinstance(decision, Stop)
    else:
        assert isinstance(decision, Retry)
        assert 0.0 <= decision.delay_s <= LONGEST_DELAY_S
        assert (decision.delay_s == 0.0) == (idle == 0)


def test_restarts_that_lead_nowhere_end():
    assert isinstance(on_failure(losses(100, 200, 200, 200), 1000), Retry)
    assert "the last 3 restarts committed no checkpoint" in on_failure(losses(100, 200, 200, 200, 200), 1000).reason


@pytest.mark.parametrize(
    ("error", "collateral"),
    [
        (RuntimeError(GLOO), True),
        (type("DistBackendError", (type("DistError", (RuntimeError,), {}),), {})("NCCL timeout"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (ValueError("gloo"), False),
        (SourceError("there is no column 'x'."), False),
    ],
)
def test_errors_of_broken_collectives_are_collateral(error, collateral):
    assert is_collateral(error) is collateral


def test_what_a_broken_collective_caused_is_collateral_too():
    error = KeyError("metrics")
    error.__cause__ = RuntimeError(GLOO)
    assert is_collateral(error)


def test_the_lowest_rank_is_reported_but_not_a_collateral_one():
    failures = [caught(ValueError("two"), 2), caught(RuntimeError(GLOO), 0), caught(ValueError("one"), 1)]
    assert worst(failures).summary == "ValueError: one"
    assert worst(failures[1:2]) is None
    assert worst([]) is None


def test_errors_of_ours_arrive_as_themselves_with_one_traceback():
    failure = pickle.loads(pickle.dumps(caught(NonFiniteError("the loss is NaN.", where="step 3"), 4)))
    error = as_error(failure)
    assert type(error) is NonFiniteError
    assert str(error).startswith("step 3: the loss is NaN.")
    assert len(error.__notes__) == 1
    assert error.__notes__[0].count("Traceback") == 1


def test_other_errors_become_worker_errors():
    error = as_error(caught(KeyError("x"), 1))
    assert type(error) is WorkerError
    assert str(error) == "worker 1: KeyError: 'x'."
    assert error.exit_code == 1


def test_an_error_that_cannot_be_pickled_still_arrives():
    failure = caught(Unpicklable("a", "b"))
    assert failure.error is None
    assert "Unpicklable: a b" in str(as_error(failure))


def test_exit_codes_in_words():
    assert exit_cause(1, -9) == "worker 1 was killed by SIGKILL (out of memory?)"
    assert exit_cause(0, -11) == "worker 0 was killed by SIGSEGV"
    assert exit_cause(2, 5) == "worker 2 ended with exit code 5"
