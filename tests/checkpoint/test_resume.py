"""Beginning attempts: numbers, fences, what is gone on from."""

import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distmtl.checkpoint.attempt import Attempt, begin_attempt, counts, ensure_current, last_number, read_attempts
from distmtl.checkpoint.commit import CheckpointRef, find
from distmtl.checkpoint.resume import Start, start
from distmtl.checkpoint.run import RunRecord, RunStore, create_record, list_runs, open_run, read_record, rewrite_record
from distmtl.checkpoint.writer import save
from distmtl.errors import CheckpointError, KeyExistsError, SupersededError
from distmtl.parallel.world import Solo, World
from distmtl.store import open_store
from tests.checkpoint.states import every_kind, same_state
from tests.checkpoint.test_damage import flip
from tests.checkpoint.threads import results


@pytest.fixture
def other() -> Iterator[RunStore]:
    store = open_store(f"memory://{secrets.token_hex(6)}")
    yield open_run(store, "other-run")
    store.clear()


def save_all(run: RunStore, begun: Start, *steps: int) -> list[CheckpointRef]:
    return [save(run, begun.attempt, step, every_kind(step), Solo()) for step in steps]


def test_a_first_attempt_is_fresh_and_the_next_goes_on(run: RunStore) -> None:
    first = start(run, Solo(), "me")
    assert (first.attempt.number, first.attempt.resumed_from, first.loaded) == (1, None, None)
    refs = save_all(run, first, 10, 20)
    for begun in results(3, lambda world: start(run, world, "me")):
        assert (begun.attempt.number, begun.attempt.resumed_from, begun.attempt.source) == (2, 20, refs[1].uri)
        assert begun.loaded is not None
        assert same_state(begun.loaded.state, every_kind(20))
    with pytest.raises(SupersededError):
        ensure_current(run, first.attempt)


def test_falling_back_fences_off_what_was_damaged(run: RunStore) -> None:
    refs = save_all(run, start(run, Solo(), "me"), 10, 20)
    flip(run, f"{refs[1].key}/data/00000-0.bin", 3)
    begun = start(run, Solo(), "me")
    assert begun.attempt.resumed_from == 10
    assert begun.loaded is not None
    assert begun.loaded.skipped[0].ref == refs[1]
    assert find(run) == [refs[0]]
    again = save(run, begun.attempt, 20, every_kind(20), Solo())
    assert find(run) == [again, refs[0]]


def test_never_starts_fresh_and_auto_goes_on_from_there(run: RunStore) -> None:
    save_all(run, start(run, Solo(), "me"), 10)
    assert start(run, Solo(), "me", "never").loaded is None
    assert find(run) == []
    assert start(run, Solo(), "me").loaded is None


def test_an_earlier_step_by_uri(run: RunStore) -> None:
    refs = save_all(run, start(run, Solo(), "me"), 10, 20, 30)
    for uri in (refs[1].uri, refs[1].uri.rpartition("/")[0], refs[1].uri + "/"):
        begun = start(run, Solo(), "me", uri)
        assert begun.attempt.resumed_from == 20
    assert find(run) == refs[1::-1]
    # The branch that was left can still be named, and is then gone on from even after a death before a commit.
    assert start(run, Solo(), "me", refs[2].uri).loaded.ref == refs[2]
    assert start(run, Solo(), "me").loaded.ref == refs[2]


def test_from_another_run(run: RunStore, other: RunStore) -> None:
    theirs = save_all(other, start(other, Solo(), "them"), 500)
    save_all(run, start(run, Solo(), "me"), 10)
    begun = start(run, Solo(), "me", other.uri)
    assert begun.loaded is not None
    assert begun.loaded.ref == theirs[0]
    assert begun.attempt.resumed_from is None
    assert find(run) == []
    assert start(run, Solo(), "me").loaded.ref == theirs[0]
    (own,) = save_all(run, start(run, Solo(), "me"), 600)
    assert start(run, Solo(), "me").loaded.ref == own


@pytest.mark.parametrize(
    "tail", ["", "/checkpoints/step-00000099", "/checkpoints/step-00000010/a-9-ffffffffffff", "/checkpoints/x"]
)
def test_a_uri_that_names_nothing_is_an_error(run: RunStore, other: RunStore, tail: str) -> None:
    save_all(run, start(run, Solo(), "me"), 10)
    with pytest.raises(CheckpointError):
        start(run, Solo(), "me", (run.uri if tail else other.uri) + tail)
    assert last_number(run) == 1


def test_a_damaged_uri_never_falls_back(run: RunStore) -> None:
    refs = save_all(run, start(run, Solo(), "me"), 10, 20)
    flip(run, f"{refs[1].key}/data/00000-0.bin", 3)
    for uri in (refs[1].uri, run.uri):
        with pytest.raises(CheckpointError, match="block 0"):
            start(run, Solo(), "me", uri)


def test_a_choice_that_became_stale_is_made_again(run: RunStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """While this attempt chose step 10, another one began, committed step 20 and was about to lose it."""
    save_all(run, start(run, Solo(), "me"), 10)
    real = begin_attempt
    rivals: list[CheckpointRef] = []

    def late(*args: object, **kwargs: object) -> Attempt:
        if not rivals:
            rivals.append(CheckpointRef(0, 0, "", ""))
            rivals[:] = save_all(run, start(run, Solo(), "rival"), 20)
        return real(*args, **kwargs)

    monkeypatch.setattr("distmtl.checkpoint.resume.begin_attempt", late)
    begun = start(run, Solo(), "me")
    assert begun.loaded is not None
    assert begun.loaded.ref == rivals[0]
    assert begun.attempt.number == 3


def test_many_starts_at_once_have_different_numbers(run: RunStore) -> None:
    save_all(run, start(run, Solo(), "me"), 10)
    with ThreadPoolExecutor(6) as pool:
        begun = list(pool.map(lambda n: start(run, Solo(), f"owner {n}"), range(6)))
    assert sorted(one.attempt.number for one in begun) == [2, 3, 4, 5, 6, 7]
    assert len(read_attempts(run)) == 7
    last = max(begun, key=lambda one: one.attempt.number)
    assert save(run, last.attempt, 20, every_kind(20), Solo()) == find(run)[0]


def test_a_number_is_given_once(run: RunStore) -> None:
    first = begin_attempt(run, 1, "me")
    with pytest.raises(KeyExistsError):
        begin_attempt(run, 1, "you")
    assert read_attempts(run) == {1: first}


FENCES = st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=5)


@given(FENCES, st.integers(0, 9), st.integers(1, 6))
def test_fences(fences: list[int | None], step: int, number: int) -> None:
    attempts = {n: Attempt(n, f"{n}", "", fence, None) for n, fence in enumerate(fences, 1)}
    seen = counts(step, number, str(number), attempts)
    later = fences[number:]
    assert seen == (number <= len(fences) and all(fence is not None and fence >= step for fence in later))
    assert not counts(step, number, "another", attempts)
    grown = attempts | {len(fences) + 1: Attempt(len(fences) + 1, "x", "", 5, None)}
    if number <= len(fences):  # A fence only ever hides.
        assert counts(step, number, str(number), grown) <= seen


def test_run_records(run: RunStore) -> None:
    record = RunRecord({"seed": 1, "lr": 0.1 + 0.2}, "hash", {"distmtl": "0.1"})
    with pytest.raises(CheckpointError, match="no run here"):
        read_record(run)
    assert create_record(run, record) == record
    assert create_record(run, RunRecord({}, "other", {})) == record
    rewrite_record(run, RunRecord({}, "other", {}))
    assert read_record(run).config_hash == "other"


def test_listing_runs(run: RunStore) -> None:
    store = open_store(run.uri.removesuffix("/a-run"))
    create_record(run, RunRecord({}, "", {}))
    create_record(open_run(store, "b-run"), RunRecord({}, "", {}))
    store.put("not-a-run/file", b"")
    assert [found.name for found in list_runs(store)] == ["a-run", "b-run"]
    assert list_runs(store)[0].uri == run.uri


def test_all_ranks_begin_the_same_attempt(run: RunStore) -> None:
    def program(world: World) -> Attempt:
        begun = start(run, world, f"rank {world.rank}")
        save(run, begun.attempt, 1, every_kind(1), world)
        return begun.attempt

    assert len(set(results(4, program))) == 1
