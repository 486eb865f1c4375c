import math

import pytest

from distmtl.training.progress import Progress, note_evaluation
from distmtl.training.specs import EarlyStopSpec


def stops(values: list[float | None], metric: str = "a/auroc", **options: float) -> list[bool]:
    progress = Progress()
    spec = EarlyStopSpec(metric=metric, **{"patience": 2, **options})
    return [note_evaluation(progress, {}, value, spec) for value in values]


def test_it_stops_when_nothing_gets_better() -> None:
    assert stops([0.5, 0.6, 0.6, 0.59]) == [False, False, False, True]
    assert stops([0.5, 0.4, 0.4, 0.3, 0.35, 0.31], metric="a/rmse") == [False, False, False, False, False, True]


def test_small_improvements_do_not_count() -> None:
    assert stops([0.5, 0.55, 0.58], min_delta=0.1) == [False, False, True]
    assert stops([0.5, 0.45, 0.42], metric="loss", min_delta=0.1) == [False, False, True]


@pytest.mark.parametrize("unknown", [None, math.nan, math.inf])
def test_an_unknown_value_is_no_evidence(unknown: float | None) -> None:
    assert stops([0.5, unknown, unknown, unknown, 0.4, 0.3]) == [False, False, False, False, False, True]


def test_without_a_spec_it_never_stops_and_remembers_the_metrics() -> None:
    progress = Progress(step=7)
    assert not note_evaluation(progress, {"a": {"auroc": 0.5}}, 0.5, None)
    assert (progress.metrics, progress.evaluated) == ({"a": {"auroc": 0.5}}, 7)
