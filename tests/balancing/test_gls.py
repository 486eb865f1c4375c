import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.balancing.gls import Gls
from distmtl.balancing.gls_log import GlsLog
from distmtl.balancing.masked import LOSS_FLOOR
from tests.balancing.loss_family import masked_losses, view


@given(case=masked_losses())
@settings(deadline=None)
def test_weighted_losses_are_equal_and_sum_to_the_geometric_mean(case: tuple[list[float], list[bool]]) -> None:
    losses, present = case
    weights, _ = Gls().weights(view(losses, present), {})
    here = np.array(losses)[present]
    count = len(here)
    np.testing.assert_allclose((weights * losses)[present], np.prod(here ** (1.0 / count)) / count, rtol=1e-9)


@given(case=masked_losses(), unit=st.floats(1e-2, 1e2))
@settings(deadline=None)
def test_the_update_of_the_log_has_no_unit(case: tuple[list[float], list[bool]], unit: float) -> None:
    losses, present = case
    weights, _ = GlsLog().weights(view(losses, present), {})
    scaled, _ = GlsLog().weights(view([loss * unit for loss in losses], present), {})
    np.testing.assert_allclose(scaled * unit, weights, rtol=1e-9)  # a gradient scales with its loss


@given(case=masked_losses())
@settings(deadline=None)
def test_both_have_one_direction(case: tuple[list[float], list[bool]]) -> None:
    losses, present = case
    mean, _ = Gls().weights(view(losses, present), {})
    log, _ = GlsLog().weights(view(losses, present), {})
    ratio = mean[present] / log[present]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-9)


@pytest.mark.parametrize("loss", [0.0, -3.0, 1e-9])
def test_a_loss_below_the_floor_counts_as_the_floor(loss: float) -> None:
    for balancer in (Gls(), GlsLog()):
        weights, _ = balancer.weights(view([loss, 2.0]), {})
        expected, _ = balancer.weights(view([LOSS_FLOOR, 2.0]), {})
        np.testing.assert_allclose(weights, expected, rtol=1e-12)
