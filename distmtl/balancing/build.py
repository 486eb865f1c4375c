"""From the run file's balancing section to a balancer."""

from collections.abc import Sequence

from distmtl.balancing.base import Balancer, Needs
from distmtl.balancing.equal import Equal
from distmtl.balancing.fixed import Fixed
from distmtl.balancing.specs import BalancingSpec, EqualSpec, FixedSpec, UncertaintySpec
from distmtl.balancing.uncertainty import Uncertainty
from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec


def build_balancer(spec: BalancingSpec, tasks: Sequence[str]) -> Balancer:
    """A balancer.

    Args:
        spec: The method and its hyperparameters; a custom one is called with ``(tasks, **args)``.
        tasks: Names of the run's tasks, in the order of a step's vectors.

    Raises:
        ConfigError: A weight names an unknown task, or a custom balancer does not follow the protocol.
    """
    match spec:
        case EqualSpec():
            return Equal()
        case FixedSpec():
            return Fixed(spec.weights, tasks)
        case UncertaintySpec():
            return Uncertainty(spec.lr, spec.initial)
        case CustomSpec():
            return _checked(spec, tuple(tasks))


def _checked(spec: CustomSpec, tasks: tuple[str, ...]) -> Balancer:
    balancer: Balancer = spec.build(tasks)
    missing = [name for name in ("init", "weights") if not callable(getattr(balancer, name, None))]
    if missing or not isinstance(getattr(balancer, "needs", None), Needs):
        raise ConfigError(
            f"'{spec.target}' is no balancer: it lacks {', '.join(f'{m}()' for m in missing) or 'needs'}.",
            "balancing.target",
            "See distmtl.balancing.base.Balancer for what it must have.",
        )
    return balancer
