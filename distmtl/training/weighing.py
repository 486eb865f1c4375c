"""Asking a balancer for the weights of a step."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from distmtl.balancing.base import Balancer, State, StepView, Vector
from distmtl.balancing.shards import Memories

_OWN, _HELD = "own", "held"


@dataclass(frozen=True)
class Balance:
    """What was decided of a step.

    Attributes:
        weights: The balancer's weights [T], 0 where absent.
        state: The balancer's next state.
        memories: The next memories of a balancer that has some.
        view: What the balancer saw; None where weights of an earlier step were used.
    """

    weights: Vector
    state: State
    memories: Memories = field(default_factory=dict)
    view: StepView | None = None


class Weigher:
    """A balancer, asked every so many steps.

    Args:
        balancer: The balancer.
        update_every: Steps between two questions; in between the last weights hold.
        seed: The run's seed.
    """

    def __init__(self, balancer: Balancer, update_every: int, seed: int) -> None:
        self.balancer = balancer
        self._update_every = update_every
        self._seed = seed

    def init(self, tasks: int) -> State:
        """The state before the first step."""
        own = self.balancer.init(tasks)
        return own if self._update_every == 1 else {_OWN: own, _HELD: np.full(tasks, np.nan)}

    def view(self, step: int, present: npt.NDArray[np.bool_], losses: Vector | None, gramian: Any) -> StepView:
        """A step as the balancer sees it."""
        known = np.full(len(present), np.nan) if losses is None else np.where(present, losses, np.nan)
        return StepView(step, present, known, gramian, self._seed)

    def held(self, step: int, present: npt.NDArray[np.bool_], state: State) -> Vector | None:
        """The weights [T] of an earlier step, if they hold in this one for every task that is present."""
        if self._update_every == 1 or step % self._update_every == 0:
            return None
        held = np.where(present, state[_HELD], 0.0)
        return None if np.isnan(held).any() else held

    def ask(self, view: StepView, state: State) -> Balance:
        """The balancer's answer. It is not shown inner products that overflowed (fp16): the step will be skipped."""
        if view.gramian is not None and not np.isfinite(view.gramian).all():
            return Balance(view.present.astype(np.float64), state, view=view)
        weights, own = self.balancer.weights(view, state if self._update_every == 1 else state[_OWN])
        weights = np.where(view.present, weights, 0.0)
        return Balance(weights, self.kept(own, weights, view.present, state), view=view)

    def kept(self, own: State, weights: Vector, present: npt.NDArray[np.bool_], state: State) -> State:
        """The next state, from the balancer's own."""
        if self._update_every == 1:
            return own
        return {_OWN: own, _HELD: np.where(present, weights, state[_HELD])}

    def resumed(self, state: State, fresh: State) -> State:
        """A checkpoint's state, for a run that may ask its balancer more often, or less, than the one that saved it.

        Args:
            state: The checkpoint's.
            fresh: From :meth:`init`.
        """
        if state.keys() == {_OWN, _HELD}:
            return dict(state[_OWN]) if self._update_every == 1 else state
        return state if self._update_every == 1 else {_OWN: state, _HELD: fresh[_HELD]}

    def own(self, state: State) -> State:
        """The balancer's part of a state."""
        return state if self._update_every == 1 else state[_OWN]
