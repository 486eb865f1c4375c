"""Input groups and inputs for the tests of this folder."""

import torch
from torch import Tensor

from distmtl.features import CategoricalColumn, InputGroup, NumericColumn, TensorColumn

AGE = NumericColumn("age", 40.0, 10.0, 18.0, 90.0, 0.0, tuple(18.0 + 72.0 * i / 16 for i in range(17)))
GAIN = NumericColumn("gain", 1000.0, 7000.0, 0.0, 99_999.0, 0.0, (0.0,) * 30 + (3000.0, 7000.0, 99_999.0))
JOB = CategoricalColumn("job", ("clerk", "cook", "judge"), (5, 3, 2))
LAND = CategoricalColumn("land", tuple(f"land-{i:02}" for i in range(40)), (1,) * 40)

GROUPS = (
    InputGroup("dense", "numeric", (AGE, GAIN)),
    InputGroup("words", "categorical", (JOB, LAND)),
    InputGroup("image", "tensor", (TensorColumn("image", "uint8", (3, 4)),)),
)


def inputs(rows: int, seed: int = 0) -> dict[str, Tensor]:
    """Rows as a batch holds them, some of them with missing values."""
    generator = torch.Generator().manual_seed(seed)
    dense = torch.rand(rows, 2, generator=generator) * torch.tensor([100.0, 1e5])
    dense[torch.rand(rows, 2, generator=generator) < 0.2] = torch.nan
    return {
        "dense": dense,
        "words": torch.stack([torch.randint(0, n, (rows,), generator=generator) for n in (5, 42)], dim=1),
        "image": torch.randint(0, 256, (rows, 3, 4), generator=generator, dtype=torch.uint8),
    }
