import numpy as np

from distmtl.balancing.base import StepView
from distmtl.balancing.rlw import Rlw

NAN = np.full(3, np.nan)


def draw(step: int, seed: int, present: tuple[bool, bool, bool] = (True, True, True)) -> list[float]:
    weights, _ = Rlw().weights(StepView(step, np.array(present), NAN, None, seed=seed), {})
    return [float(weight) for weight in weights]


def test_the_draw_follows_from_seed_and_step() -> None:
    assert draw(5, 1) == draw(5, 1)
    assert len({tuple(draw(step, seed)) for step in range(20) for seed in range(5)}) == 100


def test_weights_sum_to_one_over_the_tasks_of_the_step() -> None:
    np.testing.assert_allclose(sum(draw(0, 0)), 1.0, rtol=1e-12)
    np.testing.assert_allclose(sum(draw(0, 0, (True, False, True))), 1.0, rtol=1e-12)


def test_an_absent_task_does_not_change_what_the_others_draw() -> None:
    whole, part = draw(7, 3), draw(7, 3, (True, False, True))
    assert part[1] == 0.0
    np.testing.assert_allclose(part[2] / part[0], whole[2] / whole[0], rtol=1e-12)


def test_the_logs_of_weights_are_normal() -> None:
    logs = np.log([draw(step, 0) for step in range(2000)])
    differences = (logs[:, 0] - logs[:, 1]) / np.sqrt(2.0)  # of two normal numbers, so the sum drops out
    assert abs(differences.mean()) < 4.0 / np.sqrt(2000)
    assert abs(differences.var() - 1.0) < 4.0 * np.sqrt(2.0 / 2000)
