"""Independent component alignment, Aligned-MTL (Senushkin et al. 2023, algorithm 1; arXiv:2305.19000)."""

from typing import Literal

import numpy as np

from distmtl.balancing.base import Vector
from distmtl.balancing.cosines import norms_and_cosines, root
from distmtl.balancing.submatrix import Matrix, StatelessBalancer

Scale = Literal["min", "median", "rmse"]


class AlignedMtl(StatelessBalancer):
    """Replaces the gradients by the nearest orthogonal ones of equal length, and takes their mean.

    With ``G = V diag(l) V^T`` over the eigenvalues l that are not 0, ``w = sqrt(s) V diag(l^-1/2) V^T 1 / n``: all
    singular values of the aligned gradients are ``sqrt(s)``. The mean, as in TorchJD; LibMTL has the sum.

    Directions of zero length are told from short ones by the cosines, not by the lengths of the gradients.

    Args:
        scale: s is the least eigenvalue (``min``, the paper), the median (``median``; of an even number, the lower of
            the middle two) or the mean (``rmse``, in the authors' code).
    """

    def __init__(self, scale: Scale = "min") -> None:
        self._scale: Scale = scale

    def solve(self, gramian: Matrix) -> Vector:
        """Weights ``[n]``."""
        weights: Vector = alignment(gramian, self._scale).mean(axis=0)
        return weights


def alignment(gramian: Matrix, scale: Scale) -> Matrix:
    """``B [n, n]``, symmetric: the rows of ``B J`` are the aligned gradients, ``B G B = s P`` with P a projection."""
    norms, cosines = norms_and_cosines(gramian)
    longest = float(norms.max())
    if longest == 0.0:
        return np.eye(len(norms))
    # singular values of a root of G keep the digits that the eigenvalues of G, their squares, lose
    vectors, lengths, _ = np.linalg.svd(root(cosines) * (norms / longest)[:, None], full_matrices=False)
    matrix: Matrix = _common(lengths, scale) * (vectors / lengths) @ vectors.T
    return matrix


def _common(lengths: Vector, scale: Scale) -> float:
    """What all singular values become; they come in falling order."""
    match scale:
        case "min":
            return float(lengths[-1])
        case "median":
            return float(lengths[len(lengths) // 2])
        case "rmse":
            return float(np.sqrt(np.square(lengths).mean()))
