"""Run-file models of balancers that combine the tasks' gradients over the trunk."""

from typing import Literal

from pydantic import Field

from distmtl.spec import Spec


class GradientSpec(Spec):
    """What all balancers share that know a step by its task gradients."""

    route: Literal["auto", "exact", "features", "sketch"] = "auto"
    """How the task gradients are found."""
    update_every: int = Field(default=1, ge=1)
    """Steps between solves; the last weights are used in between."""
    sketch_size: int = Field(default=4096, ge=16)
    """Numbers per task that 'route: sketch' keeps of a gradient."""


class MgdaSpec(GradientSpec):
    """MGDA (Sener & Koltun 2018): the shortest vector in the convex hull of the gradients; weights sum to 1."""

    kind: Literal["mgda"] = "mgda"
    normalise: Literal["none", "l2", "loss", "loss+"] = "none"
    """What gradients are divided by before that: nothing, their norm, their loss, or both."""


class PcGradSpec(GradientSpec):
    """PCGrad (Yu et al. 2020): each gradient without its part against another, in random order; their sum."""

    kind: Literal["pcgrad"] = "pcgrad"


class GradVacSpec(GradientSpec):
    """GradVac (Wang et al. 2021): each gradient turned until its cosines are what they are on average; their sum."""

    kind: Literal["gradvac"] = "gradvac"
    beta: float = Field(default=0.5, ge=0.0, le=1.0)
    """How fast the mean cosines follow."""


class GradDropSpec(GradientSpec):
    """GradDrop (Chen et al. 2020): per parameter, the sum of the gradients of one sign, drawn by their agreement."""

    kind: Literal["graddrop"] = "graddrop"
    leak: float = Field(default=0.0, ge=0.0, le=1.0)
    """The part of each gradient that is not subject to it."""


class CaGradSpec(GradientSpec):
    """CAGrad (Liu et al. 2021): near the mean gradient, the update that helps the worst task most; scale of a mean."""

    kind: Literal["cagrad"] = "cagrad"
    c: float = Field(default=0.4, ge=0.0)
    """How far from the mean gradient, over its length; 0 is the mean."""
    rescale: bool = False
    """Whether to divide by 1 + c^2, as the authors' code does."""


class ImtlGSpec(GradientSpec):
    """IMTL-G (Liu et al. 2021): the update with equal projections on all gradients; weights sum to 1."""

    kind: Literal["imtl_g"] = "imtl_g"


class NashMtlSpec(GradientSpec):
    """Nash-MTL (Navon et al. 2022): the bargaining solution, (G w)_i = 1 / w_i up to scale."""

    kind: Literal["nash_mtl"] = "nash_mtl"
    max_norm: float = Field(default=1.0, ge=0.0)
    """Longest update of the trunk before the optimizer; 0 for no bound."""


class AlignedMtlSpec(GradientSpec):
    """Aligned-MTL (Senushkin et al. 2023): the mean of the gradients, made orthogonal and equally long."""

    kind: Literal["aligned_mtl"] = "aligned_mtl"
    scale: Literal["min", "median", "rmse"] = "min"
    """Their length: the least singular value of the gradients, the median, or the root mean square."""


class FairGradSpec(GradientSpec):
    """FairGrad (Ban & Ji 2024): gains that are alpha-fair, (G w)_i = w_i^(-1 / alpha)."""

    kind: Literal["fairgrad"] = "fairgrad"
    alpha: float = Field(default=2.0, ge=0.5, le=5.0)
    """Fairness: 1 is nash_mtl, more lifts the task that gains least."""


class ProjectionSpec(GradientSpec):
    """What projections on the dual cone of the gradients share."""

    ridge: float = Field(default=1e-4, ge=1e-10)
    """What is added to the Gramian's diagonal, over its trace or its entry."""
    ridge_of: Literal["trace", "each"] = "trace"
    """Which: 'trace' is TorchJD's, and hardly protects gradients 100 times shorter than others; 'each' protects all."""


class UpGradSpec(ProjectionSpec):
    """UPGrad (Quinton & Rey 2024): the mean of the gradients, each projected to conflict with none."""

    kind: Literal["upgrad"] = "upgrad"


class DualProjSpec(ProjectionSpec):
    """DualProj (Lopez-Paz & Ranzato 2017): the mean gradient, projected to conflict with none."""

    kind: Literal["dualproj"] = "dualproj"


class ConFigSpec(GradientSpec):
    """ConFIG (Liu et al. 2025): the direction of equal cosine to all gradients, as long as their sum along it."""

    kind: Literal["config"] = "config"


class MoCoSpec(GradientSpec):
    """MoCo (Fernando et al. 2023): MGDA on running means of the gradients, its weights moved by steps."""

    kind: Literal["moco"] = "moco"
    beta: float = Field(default=0.5, gt=0.0, le=1.0)
    """How fast the means follow, in the first step."""
    gamma: float = Field(default=0.1, gt=0.0)
    """Step length of the weights, in the first step."""
    rho: float = Field(default=0.0, ge=0.0)
    """Pull of the weights to equal ones."""
    decay: float = Field(default=0.5, ge=0.0)
    """Both lengths fall as step^-decay."""


class DbMtlSpec(GradientSpec):
    """DB-MTL (Lin et al. 2023): the sum of running means of the gradients of log losses, all as long as the longest."""

    kind: Literal["db_mtl"] = "db_mtl"
    beta: float = Field(default=0.9, ge=0.0, lt=1.0)
    """What the means keep, in the first step."""
    sigma: float = Field(default=0.0, ge=0.0)
    """What they keep falls as step^-sigma."""


class ExcessMtlSpec(GradientSpec):
    """ExcessMTL (He et al. 2024): more for tasks that are far from their optimum; weights sum to 1."""

    kind: Literal["excess_mtl"] = "excess_mtl"
    eta: float = Field(default=1.0, gt=0.0)
    """Step length of the log weights per unit of excess risk. The risk is measured by its first value, so it is of
    order 1: with TorchJD's 1, weights follow it within some steps, with LibMTL's 0.01 within hundreds."""


class SdmGradSpec(GradientSpec):
    """SDMGrad (Xiao et al. 2023): MGDA held near the mean gradient, its weights moved by steps; they sum to 1."""

    kind: Literal["sdmgrad"] = "sdmgrad"
    pull: float = Field(default=0.3, ge=0.0)
    """Strength of the pull towards the mean gradient, the paper's lambda."""
    lr: float = Field(default=10.0, gt=0.0)
    """Step length of the descent."""
    momentum: float = Field(default=0.5, ge=0.0, lt=1.0)
    """Momentum of the descent, within a step."""
    iterations: int = Field(default=20, ge=1)
    """Steps of the descent per update."""
