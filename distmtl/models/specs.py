"""Run-file models of the model part: architectures, trunks, heads."""

from typing import Annotated, Literal

from pydantic import Field

from distmtl.spec import CustomSpec, Spec


class TabularMlpSpec(Spec):
    """Embeddings of categorical and numeric columns, then an MLP."""

    kind: Literal["tabular_mlp"] = "tabular_mlp"
    hidden: tuple[int, ...] = Field(default=(256, 128), min_length=1)
    """Widths of the hidden layers."""
    numeric: Literal["standard", "piecewise"] = "piecewise"
    """How a number enters: standardised, or by a learned piecewise-linear embedding (Gorishniy et al. 2022)."""
    bins: int = Field(default=32, ge=2, le=256)
    """Most pieces per numeric column."""
    numeric_width: int = Field(default=8, ge=1)
    """Width of a numeric column's embedding."""
    categorical_width: int = Field(default=16, ge=1)
    """Largest width of a categorical column's embedding; small vocabularies get less."""
    sequence_width: int = Field(default=64, ge=1)
    """Width of the embedding of a sequence's ids, which are averaged."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout after each hidden layer, keyed by seed, step and row, so it does not depend on the workers."""


TrunkSpec = Annotated[TabularMlpSpec | CustomSpec, Field(discriminator="kind")]


class MlpHeadSpec(Spec):
    """An MLP from the trunk's features to the task's outputs; without hidden layers a linear map."""

    kind: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = ()
    """Widths of the hidden layers."""
    dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    """Dropout after each hidden layer."""


HeadSpec = Annotated[MlpHeadSpec | CustomSpec, Field(discriminator="kind")]


class HardSharingSpec(Spec):
    """One trunk that all tasks share, one head per task (Caruana 1997)."""

    kind: Literal["hard_sharing"] = "hard_sharing"
    trunk: TrunkSpec = TabularMlpSpec()
    """From inputs to the features that all tasks share."""
    head: HeadSpec = MlpHeadSpec()
    """The head of every task that 'heads' does not name."""
    heads: dict[str, HeadSpec] = Field(default_factory=dict)
    """Heads of single tasks, by task name."""


ModelSpec = Annotated[HardSharingSpec, Field(discriminator="kind")]
