"""Run-file models of balancers: the union of both families."""

from typing import Annotated

from pydantic import Field

from distmtl.balancing.gradient_specs import (
    AlignedMtlSpec,
    CaGradSpec,
    ConFigSpec,
    DbMtlSpec,
    DualProjSpec,
    ExcessMtlSpec,
    FairGradSpec,
    GradDropSpec,
    GradVacSpec,
    ImtlGSpec,
    MgdaSpec,
    MoCoSpec,
    NashMtlSpec,
    PcGradSpec,
    SdmGradSpec,
    UpGradSpec,
)
from distmtl.balancing.loss_specs import (
    DwaSpec,
    EqualSpec,
    FamoSpec,
    FixedSpec,
    GlsLogSpec,
    GlsSpec,
    GradNormSpec,
    ImtlLSpec,
    RlwSpec,
    ScheduledSpec,
    StchSpec,
    UncertaintySpec,
)
from distmtl.spec import CustomSpec

LossFamilySpec = (
    EqualSpec | FixedSpec | UncertaintySpec | DwaSpec | RlwSpec | GlsSpec | GlsLogSpec | ImtlLSpec | StchSpec | FamoSpec
    | GradNormSpec | ScheduledSpec
)  # fmt: skip
GradientFamilySpec = (
    MgdaSpec | PcGradSpec | GradVacSpec | GradDropSpec | CaGradSpec | ImtlGSpec | NashMtlSpec | AlignedMtlSpec
    | FairGradSpec | UpGradSpec | DualProjSpec | ConFigSpec | MoCoSpec | DbMtlSpec | ExcessMtlSpec | SdmGradSpec
)  # fmt: skip
BalancingSpec = Annotated[LossFamilySpec | GradientFamilySpec | CustomSpec, Field(discriminator="kind")]
