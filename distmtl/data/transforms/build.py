"""From a transform's spec to the transform."""

from collections.abc import Mapping

from distmtl.data.transforms.base import ColumnInfo, Transform
from distmtl.data.transforms.images import DecodeImages, RandomCrop, RandomFlip
from distmtl.data.transforms.numbers import Sequences, Standardise
from distmtl.data.transforms.specs import (
    HashWordsSpec,
    ImageSpec,
    RandomCropSpec,
    RandomFlipSpec,
    SequenceSpec,
    StandardiseSpec,
    TokeniseSpec,
    TransformSpec,
    VocabularySpec,
)
from distmtl.data.transforms.text import HashWords, Vocabulary
from distmtl.data.transforms.tokenise import Tokenise
from distmtl.errors import ConfigError
from distmtl.spec import CustomSpec


def build_transform(spec: TransformSpec, columns: Mapping[str, ColumnInfo]) -> Transform:
    """The transform; a custom one is called with its ``args`` alone.

    Args:
        spec: The hyperparameters.
        columns: All columns before it.

    Raises:
        ConfigError: It does not fit them, or a file that it needs cannot be read.
        ResourceError: A package that it needs is not installed.
    """
    match spec:
        case StandardiseSpec():
            return Standardise(spec, columns)
        case VocabularySpec():
            return Vocabulary(spec, columns)
        case TokeniseSpec():
            return Tokenise(spec)
        case HashWordsSpec():
            return HashWords(spec)
        case SequenceSpec():
            return Sequences(spec)
        case ImageSpec():
            return DecodeImages(spec)
        case RandomCropSpec():
            return RandomCrop(spec)
        case RandomFlipSpec():
            return RandomFlip(spec)
        case CustomSpec():
            return _custom(spec)


def _custom(spec: CustomSpec) -> Transform:
    transform: Transform = spec.build()
    for name in ("reads", "describe", "apply"):
        if not hasattr(transform, name):
            raise ConfigError(
                f"transform '{spec.target}' has no '{name}'.",
                remedy="See distmtl.data.transforms.base.Transform for what a transform has.",
            )
    return transform
