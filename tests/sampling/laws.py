"""What every sampler must obey; ``test_laws.py`` runs each law on each sampler."""

import copy
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from distmtl.sampling.base import Sampler, SourceSize, Statistics

Make = Callable[[], Sampler]
Weights = tuple[int, ...]
Law = Callable[[Make, Sequence[SourceSize], Sequence[Statistics]], None]

sources = st.lists(st.integers(1, 10**12), min_size=1, max_size=8).map(
    lambda rows: [SourceSize(f"source-{i}", n) for i, n in enumerate(rows)]
)
losses = st.lists(st.lists(st.none() | st.floats(1e-3, 1e3), min_size=8, max_size=8), max_size=4).map(
    lambda updates: [Statistics({f"source-{i}": x for i, x in enumerate(u) if x is not None}) for u in updates]
)


def weights_are_integers_from_one_up(make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]) -> None:
    for weights in run(make, sizes, measured):
        assert len(weights) == len(sizes)
        assert all(type(weight) is int and weight >= 1 for weight in weights)
        assert sum(weights) < 2**31


def the_same_arguments_give_the_same_result(
    make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]
) -> None:
    assert run(make, sizes, measured) == run(make, sizes, measured)


def arguments_are_not_changed(make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]) -> None:
    sampler = make()
    state = sampler.init(sizes)
    for step, statistics in timeline(sampler, measured):
        before = copy.deepcopy((statistics, state))
        weights, next_state = sampler.update(statistics, state, step)
        assert repr((statistics, state)) == repr(before)
        again, _ = sampler.update(statistics, state, step)
        assert weights == again
        state = next_state


def a_restored_state_goes_on_as_before(make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]) -> None:
    expected = run(make, sizes, measured)
    state: Any = make().init(sizes)
    for (step, statistics), weights in zip(timeline(make(), measured), expected, strict=True):
        here, state = make().update(statistics, restored(state), step)
        assert here == weights


def the_order_of_the_sources_does_not_matter(
    make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]
) -> None:
    order = np.random.default_rng(0).permutation(len(sizes))
    turned = run(make, [sizes[i] for i in order], measured)
    for weights, other in zip(run(make, sizes, measured), turned, strict=True):
        assert tuple(weights[i] for i in order) == other


LAWS: tuple[Law, ...] = (
    weights_are_integers_from_one_up,
    the_same_arguments_give_the_same_result,
    arguments_are_not_changed,
    a_restored_state_goes_on_as_before,
    the_order_of_the_sources_does_not_matter,
)


def run(make: Make, sizes: Sequence[SourceSize], measured: Sequence[Statistics]) -> list[Weights]:
    """The weights of every update of a run."""
    sampler = make()
    state = sampler.init(sizes)
    decided = []
    for step, statistics in timeline(sampler, measured):
        weights, state = sampler.update(statistics, state, step)
        decided.append(weights)
    return decided


def timeline(sampler: Sampler, measured: Sequence[Statistics]) -> list[tuple[int, Statistics]]:
    """The steps of a sampler's updates and what was measured before each; only the first has nothing."""
    later = [] if sampler.update_every is None else list(measured)
    return [(0, Statistics({}))] + [(i * (sampler.update_every or 0), s) for i, s in enumerate(later, start=1)]


def restored(state: Any) -> Any:
    """A state as a checkpoint gives it back: arrays from their bytes, everything else from JSON."""
    if isinstance(state, Mapping):
        return {key: restored(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return np.frombuffer(state.tobytes(), state.dtype).reshape(state.shape)
    return json.loads(json.dumps(state))
