"""The loader in a PyTorch loop of your own: ``python examples/loader/train_alone.py SOURCE_URI``."""

import sys

import torch

from distmtl.data import open_loader
from distmtl.data.specs import BatchSpec, SourceSpec


def train(uri: str, steps: int, rank: int = 0, size: int = 1) -> float:
    """Fit weekly hours by a linear model on one worker's share of each batch; returns the last loss."""
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
        # {"step": ..., ...}: a loader of any rank and size goes on from here after load_state_dict.
        print(loader.state_dict())
    return float(loss)


if __name__ == "__main__":
    print(train(sys.argv[1], steps=200))
