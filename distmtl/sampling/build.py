"""From the run file's sampling section to a sampler."""

from distmtl.errors import ConfigError
from distmtl.sampling.base import Sampler
from distmtl.sampling.proportional import Proportional
from distmtl.sampling.specs import (
    CustomSamplerSpec,
    ProportionalSpec,
    SamplingSpec,
    TemperatureSpec,
    UniformSpec,
)
from distmtl.sampling.temperature import Temperature
from distmtl.sampling.uniform import Uniform


def build_sampler(spec: SamplingSpec) -> Sampler:
    """A sampler.

    Args:
        spec: The rule and its hyperparameters; a custom one is called with ``(**args)``.

    Raises:
        ConfigError: A custom sampler does not follow the protocol.
    """
    match spec:
        case ProportionalSpec():
            return Proportional()
        case UniformSpec():
            return Uniform()
        case TemperatureSpec():
            return Temperature(spec.tau, spec.cap)
        case CustomSamplerSpec():
            return _checked(spec)


def _checked(spec: CustomSamplerSpec) -> Sampler:
    sampler: Sampler = spec.build()
    missing = [name for name in ("init", "update") if not callable(getattr(sampler, name, None))]
    if missing or not hasattr(sampler, "update_every"):
        raise ConfigError(
            f"'{spec.target}' is no sampler: it lacks {', '.join(f'{m}()' for m in missing) or 'update_every'}.",
            "sampling.target",
            "See distmtl.sampling.base.Sampler for what it must have.",
        )
    return sampler
