import numpy as np
import torch
from torch import nn

from distmtl.parallel.gradient_matrix import Span
from distmtl.parallel.sketch import GradientSketch, whole_spans


def _parameters() -> list[tuple[str, nn.Parameter]]:
    return [("a", nn.Parameter(torch.zeros(30, 40))), ("b", nn.Parameter(torch.zeros(70)))]


def _sketch(gradients: list[list[torch.Tensor]], size: int, step: int = 0) -> torch.Tensor:
    named = _parameters()
    sketch = GradientSketch([p for _, p in named], whole_spans(named), len(gradients), size, 1)
    sketch.begin(5, step)
    for row, parts in enumerate(gradients):
        for (_, parameter), gradient in zip(named, parts, strict=True):
            parameter.grad = gradient.clone()
        sketch.take(row)
        assert all(parameter.grad is None for _, parameter in named)
    return sketch.shard


def test_inner_products_are_right_on_average_and_within_the_stated_deviation() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [[torch.randn(30, 40, generator=generator), torch.randn(70, generator=generator)] for _ in range(3)]
    flat = torch.stack([torch.cat([part.reshape(-1) for part in parts]) for parts in gradients]).double()
    exact, norms = flat @ flat.T, flat.norm(dim=1)
    size, draws = 256, 200
    errors = []
    for step in range(draws):
        sketched = _sketch(gradients, size, step)
        errors.append(((sketched @ sketched.T - exact) / torch.outer(norms, norms)).numpy())
    deviation = np.sqrt(2 / size)
    assert np.abs(np.mean(errors, axis=0)).max() < 4 * deviation / np.sqrt(draws)
    assert np.std(errors, axis=0).max() < 1.25 * deviation


def test_a_sketch_is_the_sum_of_the_sketches_of_its_parts() -> None:
    """So it does not matter which worker has which elements, nor how rows are spread."""
    generator = torch.Generator().manual_seed(1)
    values = torch.randn(70, generator=generator)
    named = [("b", nn.Parameter(torch.zeros(70)))]
    whole = GradientSketch([named[0][1]], whole_spans(named), 1, 32, 1)
    whole.begin(5, 9)
    named[0][1].grad = values.clone()
    whole.take(0)
    total = torch.zeros(1, 32, dtype=torch.float64)
    for start, stop in ((0, 11), (11, 11), (11, 70)):
        parameter = nn.Parameter(torch.zeros(stop - start))
        part = GradientSketch([parameter], [Span("b", start, stop - start)], 1, 32, 1)
        part.begin(5, 9)
        parameter.grad = values[start:stop].clone()
        part.take(0)
        total += part.shard
    torch.testing.assert_close(total, whole.shard)


def test_other_steps_and_seeds_draw_other_places() -> None:
    ones = [[torch.ones(30, 40), torch.ones(70)]]
    assert not torch.equal(_sketch(ones, 64, 0), _sketch(ones, 64, 1))
    assert torch.equal(_sketch(ones, 64, 1), _sketch(ones, 64, 1))
