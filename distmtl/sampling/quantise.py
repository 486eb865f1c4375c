"""Integer weights from shares, so that a mixture is exact and the same everywhere."""

import math
from collections.abc import Sequence

RESOLUTION = 2**20
"""What the weights of a mixture sum to, nearly, before common factors go: a share is right to half a millionth."""


def quantise(scores: Sequence[float]) -> tuple[int, ...]:
    """Integer weights proportional to the scores, none below 1.

    Each share of the whole is rounded to a multiple of ``1 / RESOLUTION`` by itself, and the whole is summed exactly,
    so the order of the sources does not matter. A source with a smaller share than that gets weight 1: it is rare,
    never lost.

    Args:
        scores: Finite numbers, at least 0 and not all 0, one per source.
    """
    total = math.fsum(scores)
    weights = [max(1, round(score / total * RESOLUTION)) for score in scores]
    factor = math.gcd(*weights)
    return tuple(weight // factor for weight in weights)
