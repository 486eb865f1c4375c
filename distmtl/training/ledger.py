"""Sums over the steps since the last line of training metrics."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from distmtl.parallel.world import World
from distmtl.training.facts import StepFacts
from distmtl.training.step import StepOutcome


def gather_sums(sums: torch.Tensor, world: World) -> npt.NDArray[np.float64]:
    """Every worker's sums ``[R, n]``; a collective. Kept apart, so that a resume adds them in the same order."""
    return np.stack([part.numpy() for part in world.all_gather(sums.cpu())])


def own_sums(by_worker: npt.NDArray[np.float64], world: World) -> torch.Tensor:
    """This worker's sums again; at another world size rank 0 carries those of all."""
    if len(by_worker) == world.size:
        own = by_worker[world.rank]
    else:
        own = by_worker.sum(0) if world.rank == 0 else np.zeros(by_worker.shape[1])
    return torch.tensor(own, dtype=torch.float64, device=world.device)


class Ledger:
    """Adds up losses, weights and rows of steps; reduced over workers only when read.

    A checkpoint keeps the sums, so that a resumed run writes the same lines as an undisturbed one.
    """

    def __init__(self, tasks: Sequence[str], world: World) -> None:
        self._tasks = tuple(tasks)
        self._world = world
        self._clear()

    def _clear(self) -> None:
        count = len(self._tasks)
        # one entry per task, then the objective
        self._losses = torch.zeros(count + 1, dtype=torch.float64, device=self._world.device)
        self._weights = np.zeros(count)
        self._present = np.zeros(count)
        self._rows = np.zeros(count)
        self._steps = 0

    def add(self, outcome: StepOutcome, facts: StepFacts) -> None:
        """Count a step."""
        weights = torch.from_numpy(outcome.weights).to(self._losses.device)
        self._losses[:-1] += outcome.losses
        self._losses[-1] += torch.dot(outcome.losses, weights)
        self._weights += outcome.weights
        self._present += facts.present
        self._rows += facts.counts
        self._steps += 1

    def means(self) -> tuple[float, dict[str, dict[str, float]]]:
        """The mean objective, and per task its mean loss, effective weight and labelled rows; a collective.

        The loss of a task is the mean over the steps that had a valid label of it; its effective weight is its
        weight times the share of such steps.
        """
        losses = self._reduced()
        present = np.maximum(self._present, 1.0)
        effective = self._weights / max(self._steps, 1)
        tasks = {
            name: {"loss": float(losses[i] / present[i]), "weight": float(effective[i]), "rows": int(self._rows[i])}
            for i, name in enumerate(self._tasks)
            if self._present[i] > 0
        }
        return float(losses[-1] / max(self._steps, 1)), tasks

    def clear(self) -> None:
        """Start the next line."""
        self._clear()

    def state(self) -> dict[str, Any]:
        """The sums, those of losses by worker; a collective."""
        return {
            "losses": gather_sums(self._losses, self._world),
            "weights": self._weights.copy(),
            "present": self._present.copy(),
            "rows": self._rows.copy(),
            "steps": self._steps,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state`."""
        self._losses = own_sums(state["losses"], self._world)
        self._weights = np.asarray(state["weights"], dtype=np.float64).copy()
        self._present = np.asarray(state["present"], dtype=np.float64).copy()
        self._rows = np.asarray(state["rows"], dtype=np.float64).copy()
        self._steps = int(state["steps"])

    def _reduced(self) -> npt.NDArray[np.float64]:
        values: npt.NDArray[np.float64] = self._world.sum(self._losses.clone()).cpu().numpy()
        return values
