"""The loader in a PyTorch loop of your own: ``python examples/loader/train_alone.py SOURCE_URI``."""

import json
import sys
from typing import Any

import torch

from distmtl.data import open_loader
from distmtl.data.specs import BatchSpec, SourceSpec


def train(uri: str, steps: int, rank: int = 0, size: int = 1) -> tuple[dict[str, Any], float]:
    """Fit weekly hours by a linear model on a worker's share of each batch; returns where it stopped and the loss."""
    source = SourceSpec(uri=uri, inputs={"dense": ["age", "education_num"]})
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    loss = torch.zeros(())
    with open_loader(
        {"adult": source}, {"adult": {"y_hours": "regression"}}, BatchSpec(rows=256), rank=rank, size=size
    ) as loader:
        for batch in loader:
            (part,) = batch.sources  # one per source that the step has rows of
            residual = model(part.inputs["dense"]).squeeze(1) - part.targets["y_hours"]
            loss = residual.square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if batch.step + 1 == steps:
                break
        # A loader of any rank and size goes on from here after load_state_dict.
        state = loader.state_dict()
    return state, float(loss)


if __name__ == "__main__":
    state, loss = train(sys.argv[1], steps=200)
    sys.stdout.write(f"{json.dumps(state)}\n{loss:.3f}\n")
