"""Run-file models of samplers."""

from typing import Annotated, Literal

from pydantic import Field

from distmtl.spec import CustomSpec, Spec


class SamplerSpec(Spec):
    """What all samplers share."""

    per: Literal["row", "step"] = "row"
    """'row': every step has rows of every source, by quota. 'step': each step has rows of one source."""
    delay_steps: int = Field(default=16, ge=1)
    """Steps between a sampler's decision and its effect, so that batches can be prefetched; part of the result."""


class ProportionalSpec(SamplerSpec):
    """Each source by its number of rows."""

    kind: Literal["proportional"] = "proportional"


class UniformSpec(SamplerSpec):
    """All sources alike."""

    kind: Literal["uniform"] = "uniform"


class TemperatureSpec(SamplerSpec):
    """Each source by min(rows, cap) ** (1 / tau) (Raffel et al. 2020)."""

    kind: Literal["temperature"] = "temperature"
    tau: float = Field(default=2.0, ge=1.0)
    """1 is proportional; large is uniform."""
    cap: int | None = Field(default=None, ge=1)
    """Rows beyond which a source counts as no larger."""


class CustomSamplerSpec(CustomSpec):
    """The user's own sampler."""

    per: Literal["row", "step"] = "row"
    """As for the other samplers."""
    delay_steps: int = Field(default=16, ge=1)
    """As for the other samplers."""


SamplingSpec = Annotated[
    ProportionalSpec | UniformSpec | TemperatureSpec | CustomSamplerSpec, Field(discriminator="kind")
]
