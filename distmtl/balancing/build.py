"""From the run file's balancing section to a balancer, and to how it is asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from distmtl.balancing import gradient_specs as gradient
from distmtl.balancing import loss_specs as loss
from distmtl.balancing.aligned_mtl import AlignedMtl
from distmtl.balancing.base import Balancer, Needs
from distmtl.balancing.cagrad import CaGrad
from distmtl.balancing.config import ConFig
from distmtl.balancing.db_mtl import DbMtl
from distmtl.balancing.dualproj import DualProj
from distmtl.balancing.dwa import Dwa
from distmtl.balancing.equal import Equal
from distmtl.balancing.excess_mtl import ExcessMtl
from distmtl.balancing.fairgrad import FairGrad
from distmtl.balancing.famo import Famo
from distmtl.balancing.fixed import Fixed
from distmtl.balancing.gls import Gls
from distmtl.balancing.gls_log import GlsLog
from distmtl.balancing.graddrop import GradDrop
from distmtl.balancing.gradnorm import GradNorm
from distmtl.balancing.gradvac import GradVac
from distmtl.balancing.imtl_g import ImtlG
from distmtl.balancing.imtl_l import ImtlL
from distmtl.balancing.mgda import Mgda
from distmtl.balancing.moco import MoCo
from distmtl.balancing.nash_mtl import NashMtl
from distmtl.balancing.pcgrad import PcGrad
from distmtl.balancing.rlw import Rlw
from distmtl.balancing.scheduled import Scheduled
from distmtl.balancing.sdmgrad import SdmGrad
from distmtl.balancing.shards import ShardBalancer
from distmtl.balancing.specs import BalancingSpec
from distmtl.balancing.stch import Stch
from distmtl.balancing.uncertainty import Uncertainty
from distmtl.balancing.upgrad import UpGrad
from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec, Spec

_CLASSES: Mapping[type[Spec], Callable[..., Any]] = {
    loss.EqualSpec: Equal,
    loss.UncertaintySpec: Uncertainty,
    loss.DwaSpec: Dwa,
    loss.RlwSpec: Rlw,
    loss.GlsSpec: Gls,
    loss.GlsLogSpec: GlsLog,
    loss.ImtlLSpec: ImtlL,
    loss.StchSpec: Stch,
    loss.FamoSpec: Famo,
    loss.GradNormSpec: GradNorm,
    gradient.MgdaSpec: Mgda,
    gradient.PcGradSpec: PcGrad,
    gradient.GradVacSpec: GradVac,
    gradient.GradDropSpec: GradDrop,
    gradient.CaGradSpec: CaGrad,
    gradient.ImtlGSpec: ImtlG,
    gradient.NashMtlSpec: NashMtl,
    gradient.AlignedMtlSpec: AlignedMtl,
    gradient.FairGradSpec: FairGrad,
    gradient.UpGradSpec: UpGrad,
    gradient.DualProjSpec: DualProj,
    gradient.ConFigSpec: ConFig,
    gradient.MoCoSpec: MoCo,
    gradient.DbMtlSpec: DbMtl,
    gradient.ExcessMtlSpec: ExcessMtl,
    gradient.SdmGradSpec: SdmGrad,
}
"""What each section builds, with the section's own fields as keyword arguments."""

_ASKING = frozenset(("kind", "route", "update_every", "sketch_size"))
"""Fields that say how a balancer is asked, not what it is."""


@dataclass(frozen=True)
class Asking:
    """How a balancer gets to know of a step.

    Attributes:
        route: "loss", "exact", "features" or "sketch".
        reason: Why this one, in a few words.
        update_every: Steps between two questions.
        sketch_size: Numbers in a task's sketch.
    """

    route: str
    reason: str
    update_every: int = 1
    sketch_size: int = 4096


def build_balancer(spec: BalancingSpec, tasks: Sequence[str]) -> Balancer:
    """A balancer.

    Args:
        spec: The method and its hyperparameters; a custom one is called with ``(tasks, **args)``.
        tasks: Names of the run's tasks, in the order of a step's vectors.

    Raises:
        ConfigError: A weight names an unknown task, or a custom balancer does not follow the protocol.
    """
    match spec:
        case loss.FixedSpec():
            return Fixed(spec.weights, tasks)
        case loss.ScheduledSpec():
            return Scheduled(tasks, spec.points)
        case CustomSpec():
            return _checked(spec, tuple(tasks))
    given = {name: getattr(spec, name) for name in type(spec).model_fields if name not in _ASKING}
    built: Balancer = _CLASSES[type(spec)](**given)
    return built


def choose_route(spec: BalancingSpec, balancer: Balancer, sources: int) -> Asking:
    """How this balancer gets to know of a step.

    Args:
        spec: The run file's section.
        balancer: What it builds.
        sources: Number of sources that tasks have their labels in.

    Raises:
        ConfigError: The route cannot give the balancer what it needs.
    """
    if balancer.needs is not Needs.GRAMIAN:
        return Asking("loss", "this balancer looks at no gradient")
    route = getattr(spec, "route", "auto")
    every = getattr(spec, "update_every", 1)
    size = getattr(spec, "sketch_size", 4096)
    if isinstance(balancer, ShardBalancer):
        if route not in ("auto", "exact"):
            raise ConfigError(
                f"'{spec.kind}' works on the gradients themselves, and 'route: {route}' has inner products only.",
                "balancing.route",
                "Use route: exact.",
            )
        if every > 1:
            raise ConfigError(
                f"'{spec.kind}' combines gradients anew in each step, so its weights cannot be kept for {every} steps.",
                "balancing.update_every",
                "Leave update_every at 1.",
            )
        return Asking("exact", "this balancer works on the gradients themselves")
    if route == "features" and sources > 1:
        raise ConfigError(
            f"'route: features' compares gradients on the same rows, and the tasks read {sources} sources.",
            "balancing.route",
            "Use route: exact, or sketch.",
        )
    if route == "auto":
        return Asking("exact", "it alone is exact for any model and any sources", every, size)
    return Asking(route, "the run file says so", every, size)


def _checked(spec: CustomSpec, tasks: tuple[str, ...]) -> Balancer:
    balancer: Balancer = spec.build(tasks)
    missing = [name for name in ("init", "weights") if not callable(getattr(balancer, name, None))]
    lacking = [f"{name}()" for name in missing]
    lacking += ["needs"] * (not isinstance(getattr(balancer, "needs", None), Needs))
    lacking += ["multiplies ('loss' or 'gradient')"] * (
        getattr(balancer, "multiplies", None) not in ("loss", "gradient")
    )
    if lacking:
        raise ConfigError(
            f"'{spec.target}' is no balancer: it lacks {', '.join(lacking)}.",
            "balancing.target",
            "See distmtl.balancing.base.Balancer for what it must have.",
        )
    return balancer
