"""One of each part that a user may bring: a trunk, a head, a loss, a sampler, a balancer."""

import numpy as np
import torch
from torch import Tensor, nn

from distmtl.balancing.base import Needs, StepView
from distmtl.sampling.base import SourceSize, Statistics


class NumbersTrunk(nn.Module):
    """Reads the numeric group ``dense`` [N, columns] alone; missing values count as the mean."""

    def __init__(self, groups, width: int = 32) -> None:
        super().__init__()
        columns = next(group.columns for group in groups if group.name == "dense")
        self.width = width  # heads are sized by it
        self.register_buffer("mean", torch.tensor([column.mean for column in columns]))
        self.register_buffer("std", torch.tensor([column.std or 1.0 for column in columns]))
        self.layers = nn.Sequential(nn.Linear(len(columns), width), nn.SiLU())

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.layers(((inputs["dense"] - self.mean) / self.std).nan_to_num(0.0))


class ScaledHead(nn.Linear):
    """A linear head whose outputs start small."""

    def __init__(self, width: int, outputs: int, scale: float = 0.1) -> None:
        super().__init__(width, outputs)
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        return self.scale * super().forward(features)


def log_cosh(output: Tensor, target: Tensor) -> Tensor:
    """A regression loss: [n, 1] and [n] (labelled rows alone) to [n]."""
    return torch.log(torch.cosh(output[:, 0] - target))


class HardestFirst:
    """Every 10 steps, gives each source a weight in proportion to its mean loss."""

    update_every = 10

    def init(self, sources: list[SourceSize]) -> dict:
        return {"names": [source.name for source in sources], "seen": 0}

    def update(self, statistics: Statistics, state: dict, step: int) -> tuple[tuple[int, ...], dict]:
        losses = [statistics.loss.get(name, 1.0) for name in state["names"]]
        return tuple(max(1, round(1000 * loss)) for loss in losses), {**state, "seen": state["seen"] + 1}


class InverseLoss:
    """Weighs each task by the inverse of a running mean of its loss, so that all count alike."""

    needs = Needs.LOSSES
    multiplies = "loss"

    def __init__(self, tasks: tuple[str, ...], momentum: float = 0.9) -> None:
        self.momentum = momentum

    def init(self, tasks: int) -> dict:
        return {"mean": np.ones(tasks)}

    def weights(self, view: StepView, state: dict) -> tuple[np.ndarray, dict]:
        moved = self.momentum * state["mean"] + (1 - self.momentum) * view.losses
        mean = np.where(view.present, moved, state["mean"])
        return 1.0 / np.maximum(mean, 1e-6), {"mean": mean}
