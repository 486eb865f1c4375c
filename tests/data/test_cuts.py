import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from distmtl.data.cuts import plan_steps
from distmtl.data.mixture import Mixture
from distmtl.data.plan import Layout, Plan


@st.composite
def plans(draw):
    layouts = []
    for number in range(draw(st.integers(1, 3))):
        block_rows, blocks = 2 ** draw(st.integers(0, 5)), draw(st.integers(1, 40))
        last = draw(st.integers(1, block_rows))
        short = ((blocks - 1, last),) if last < block_rows else ()
        layouts.append(Layout(f"s{number}", (blocks - 1) * block_rows + last, block_rows, blocks, short))
    return Plan(tuple(layouts), draw(st.sampled_from([1, 2, 5, 16, 100])), 3, 1)


@st.composite
def mixtures(draw, plan):
    weights = {layout.name: draw(st.integers(0 if number else 1, 5)) for number, layout in enumerate(plan.layouts)}
    return Mixture.constant(weights, draw(st.integers(1, 200)), draw(st.sampled_from(["row", "step"])))


def segments_of(group, step):
    """A step of the group in the form that the plan gives it."""
    found = []
    for source, cuts in enumerate(group.cuts):
        place = int(group.places[step, source])
        here = cuts.step == step
        for lane, first, rows in zip(cuts.lane[here], cuts.first[here], cuts.rows[here], strict=True):
            found.append((source, lane, first, rows, place))
            place += rows
        assert rows_of(cuts, step) == group.rows[step, source]
    return found


def rows_of(cuts, step):
    return cuts.rows[cuts.step == step].sum()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_several_steps_are_cut_as_the_plan_cuts_each(data):
    plan = data.draw(plans())
    mixture = data.draw(mixtures(plan))
    size, first, steps = data.draw(st.integers(1, 9)), data.draw(st.integers(0, 1000)), data.draw(st.integers(1, 9))
    rank = data.draw(st.integers(0, size - 1))
    group = plan_steps(plan, mixture, first, steps, rank, size)
    assert (group.first, group.steps) == (first, steps)
    for step in range(steps):
        assert group.quotas[step] == mixture.quotas(first + step)
        assert segments_of(group, step) == [tuple(s) for s in plan.segments(mixture, first + step, rank, size)]


@settings(deadline=None, max_examples=50)
@given(st.data())
def test_the_parts_of_a_group_are_groups(data):
    plan = data.draw(plans())
    mixture = data.draw(mixtures(plan))
    steps = data.draw(st.integers(2, 6))
    at = data.draw(st.integers(1, steps - 1))
    whole = plan_steps(plan, mixture, 3, steps, 0, 2)
    for part, first, count in zip(whole.parted(at), (3, 3 + at), (at, steps - at), strict=True):
        other = plan_steps(plan, mixture, first, count, 0, 2)
        assert (part.first, part.quotas) == (other.first, other.quotas)
        for a, b in zip((*part.cuts, part.places, part.rows, part.drawn),
                        (*other.cuts, other.places, other.rows, other.drawn), strict=True):  # fmt: skip
            np.testing.assert_array_equal(a, b)
