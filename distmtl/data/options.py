"""How files become a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from distmtl.data.importers import TextOptions
from distmtl.data.infer import TypingOptions
from distmtl.errors import SourceError

Compression = Literal["lz4", "zstd", "none"]


@dataclass(frozen=True)
class PackOptions:
    """How files become a source. Equal files and options give equal bytes.

    Attributes:
        seed: Seed of the fractions and of the order.
        order: ``shuffle`` the rows of each split, or ``keep`` them as they come.
        fractions: Shares of the rows by split, drawn at random.
        split_column: A column that names each row's split; it is not packed.
        typing: What the caller knows about columns.
        text: How CSV and TSV files are read.
        max_vocabulary: Words kept of a categorical column, the most frequent first.
        block_rows: Rows of a block, a power of two; by default chosen by size.
        shard_bytes: A shard that has reached this size is closed.
        compression: Of the pages: ``lz4`` (fast), ``zstd`` (small) or ``none``.
        overwrite: Replace a source that is there already.

    Raises:
        SourceError: The options contradict each other or are out of range.
    """

    seed: int = 0
    order: Literal["shuffle", "keep"] = "shuffle"
    fractions: Mapping[str, float] | None = None
    split_column: str | None = None
    typing: TypingOptions = field(default_factory=TypingOptions)
    text: TextOptions = field(default_factory=TextOptions)
    max_vocabulary: int = 1_000_000
    block_rows: int | None = None
    shard_bytes: int = 512 * 2**20
    compression: Compression = "lz4"
    overwrite: bool = False

    def __post_init__(self) -> None:
        block_rows = self.block_rows
        if block_rows is not None and (block_rows < 1 or block_rows & (block_rows - 1)):
            raise SourceError(f"block rows {block_rows} is not a power of two.", remedy="Give one, such as 4096.")
        if self.fractions is not None and self.split_column is not None:
            raise SourceError("both fractions and a split column are given.", remedy="Keep one.")
        if self.max_vocabulary < 1 or self.seed < 0 or self.shard_bytes < 1:
            raise SourceError(
                "max_vocabulary and shard_bytes must be at least 1, and seed at least 0.", remedy="Correct them."
            )
