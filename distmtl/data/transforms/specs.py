"""Run-file models of transforms."""

from typing import Annotated, Literal

from pydantic import Field

from distmtl.spec import CustomSpec, Spec

Size = int | tuple[int, int]
"""Height and width in pixels, or one number for both."""


class StandardiseSpec(Spec):
    """Numbers minus a mean, over a deviation: numeric columns, or tensors with a mean that is given."""

    kind: Literal["standardise"] = "standardise"
    columns: tuple[str, ...] = Field(min_length=1)
    """The columns; each is replaced."""
    mean: float | tuple[float, ...] | None = None
    """Subtracted; by default a numeric column's mean over this source's train split. A list: one per channel."""
    std: float | tuple[float, ...] | None = None
    """Divided by; by default a numeric column's deviation over this source's train split."""


class VocabularySpec(Spec):
    """Text to the id of a word of a list."""

    kind: Literal["vocabulary"] = "vocabulary"
    column: str
    """A text column."""
    file: str | None = None
    """A text file with a word a line, relative to the file that names it; or give 'like'."""
    like: str | None = None
    """A categorical column of the source whose vocabulary to use."""
    split: bool = False
    """Look up each word of a text, which gives a sequence; otherwise the whole text, which gives a category."""
    lowercase: bool = True
    """With 'split': words in lower case."""
    max_length: int = Field(default=128, ge=1)
    """With 'split': most words kept of a row."""
    into: str | None = None
    """Name of the new column; by default it replaces the old one."""


class TokeniseSpec(Spec):
    """Text, or pairs of texts, to the ids of a trained tokenizer (Hugging Face 'tokenizers'; extra 'text')."""

    kind: Literal["tokenise"] = "tokenise"
    columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    """One text column, or the two of a pair; a null second text leaves the first alone."""
    tokenizer: str
    """A tokenizer.json or the folder that has it, relative to the file that names it."""
    max_length: int = Field(default=128, ge=1)
    """Most ids of a row, with those that the tokenizer adds; the longer text of a pair is cut first."""
    into: str = "tokens"
    """Name of the new column of ids."""
    types: str | None = None
    """Name of a further column that says which text each id is of: 0 or 1."""
    pad: int | None = Field(default=None, ge=0)
    """The id that fills rows up; by default the tokenizer's own."""


class HashWordsSpec(Spec):
    """Text, or pairs of texts, to a hash of each word: a vocabulary of fixed size that nothing has to learn."""

    kind: Literal["hash_words"] = "hash_words"
    columns: tuple[str, ...] = Field(min_length=1, max_length=2)
    """One text column, or the two of a pair; a null second text leaves the first alone."""
    buckets: int = Field(default=2**15, ge=2)
    """Words hash to ids 2 to buckets + 1; 0 fills rows up, 1 stands between the texts of a pair."""
    lowercase: bool = True
    """Words in lower case. Every punctuation mark is a word."""
    max_length: int = Field(default=128, ge=2)
    """Most ids of a row; longer texts are cut, the longer one of a pair first."""
    into: str = "tokens"
    """Name of the new column of ids."""
    types: str | None = None
    """Name of a further column that says which text each id is of: 0 or 1."""


class SequenceSpec(Spec):
    """Cuts the rows of a ragged column, says what fills them up, and how long they are."""

    kind: Literal["sequence"] = "sequence"
    column: str
    """A ragged column; it is replaced."""
    max_length: int | None = Field(default=None, ge=1)
    """Most numbers kept of a row."""
    pad: float = Field(default=0.0, allow_inf_nan=False)
    """What fills rows up to the longest of the batch."""
    size: int | None = Field(default=None, ge=1)
    """Where the numbers are ids from 0: how many ids there are."""
    lengths: str | None = None
    """Name of a new column with the numbers in each row, after cutting."""


class ImageSpec(Spec):
    """Encoded images (JPEG, PNG, ...) to tensors [C, H, W] (Pillow; extra 'images')."""

    kind: Literal["image"] = "image"
    column: str
    """A column of bytes."""
    size: Size
    """Height and width of the result, or one number for both."""
    fit: Literal["stretch", "crop"] = "stretch"
    """How another shape becomes this one: stretched, or scaled to cover it and cut about the centre."""
    mode: Literal["rgb", "grey"] = "rgb"
    """Three channels or one."""
    dtype: Literal["uint8", "float32"] = "uint8"
    """Bytes from 0 to 255, or numbers from 0 to 1."""
    mean: float | tuple[float, ...] | None = None
    """Subtracted from numbers from 0 to 1, one per channel or one for all; needs float32."""
    std: float | tuple[float, ...] | None = None
    """Divided by, after the mean."""
    into: str | None = None
    """Name of the new column; by default it replaces the old one."""


class RandomCropSpec(Spec):
    """A random part of an image; in evaluation the middle."""

    kind: Literal["random_crop"] = "random_crop"
    column: str
    """A tensor column [..., H, W]; it is replaced."""
    size: Size
    """Height and width of the part, or one number for both."""
    pad: int = Field(default=0, ge=0)
    """Zeros put around the image first, on each side."""


class RandomFlipSpec(Spec):
    """Mirrors images at random; none in evaluation."""

    kind: Literal["random_flip"] = "random_flip"
    column: str
    """A tensor column [..., H, W]; it is replaced."""
    probability: float = Field(default=0.5, ge=0.0, le=1.0)
    """How often."""
    direction: Literal["horizontal", "vertical"] = "horizontal"
    """Left to right, or top to bottom."""


TransformSpec = Annotated[
    StandardiseSpec
    | VocabularySpec
    | TokeniseSpec
    | HashWordsSpec
    | SequenceSpec
    | ImageSpec
    | RandomCropSpec
    | RandomFlipSpec
    | CustomSpec,
    Field(discriminator="kind"),
]

FILES: tuple[str, ...] = ("tokenizer", "file")
"""Keys of transforms that name a file, relative to the run file that names it."""
