"""How files become a source."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from distmtl.data.importers import ImportOptions, TextOptions
from distmtl.data.infer import TypingOptions
from distmtl.errors import SourceError

Compression = Literal["lz4", "zstd", "none"]

MEMORY_BYTES = 64 * 2**20
"""Inputs larger than this are not held in memory."""


@dataclass(frozen=True)
class PackOptions:
    """How files become a source. Equal files and options give equal bytes.

    Attributes:
        seed: Seed of the fractions and of the order.
        order: ``shuffle`` the rows of each split, or ``keep`` them as they come.
        fractions: Shares of the rows by split, drawn at random.
        split_column: A column that names each row's split; it is not packed.
        group_by: A column whose rows of one value stay in one split; the splits are drawn by group.
        typing: What the caller knows about columns.
        text: How CSV and TSV files are read.
        files: Columns that name files, whose bytes are packed, and the folder that the names are relative to (None:
            the folder of the file that holds them).
        max_vocabulary: Words kept of a categorical column, the most frequent first.
        block_rows: Rows of a block, a power of two; by default chosen by size.
        shard_bytes: Size of a shard before compression.
        compression: Of the pages: ``lz4`` (fast), ``zstd`` (small) or ``none``.
        overwrite: Replace a source that is there already.
        append: Add the rows to the source that is there already, as a new version of it.
        work: Folder for what does not fit into memory, and from which a pack that was killed goes on; by default
            beside a local source, else with the system's temporary files.
        threads: Threads at work; by default as many as there are cores, up to 4. The bytes do not depend on it.
        memory_bytes: Inputs larger than this go through the work folder. The bytes do not depend on it.

    Raises:
        SourceError: The options contradict each other or are out of range.
    """

    seed: int = 0
    order: Literal["shuffle", "keep"] = "shuffle"
    fractions: Mapping[str, float] | None = None
    split_column: str | None = None
    group_by: str | None = None
    typing: TypingOptions = field(default_factory=TypingOptions)
    text: TextOptions = field(default_factory=TextOptions)
    files: Mapping[str, str | None] = field(default_factory=dict)
    max_vocabulary: int = 1_000_000
    block_rows: int | None = None
    shard_bytes: int = 512 * 2**20
    compression: Compression = "lz4"
    overwrite: bool = False
    append: bool = False
    work: str | None = None
    threads: int | None = None
    memory_bytes: int = MEMORY_BYTES

    def __post_init__(self) -> None:
        block_rows = self.block_rows
        if block_rows is not None and (block_rows < 1 or block_rows & (block_rows - 1)):
            raise SourceError(f"block rows {block_rows} is not a power of two.", remedy="Give one, such as 4096.")
        if self.fractions is not None and self.split_column is not None:
            raise SourceError("both fractions and a split column are given.", remedy="Keep one.")
        if self.group_by is not None and self.split_column is not None:
            raise SourceError("both a split column and a column of groups are given.", remedy="Keep one.")
        if self.overwrite and self.append:
            raise SourceError("a source cannot be both replaced and appended to.", remedy="Keep one.")
        if self.max_vocabulary < 1 or self.seed < 0 or self.shard_bytes < 1:
            raise SourceError(
                "max_vocabulary and shard_bytes must be at least 1, and seed at least 0.", remedy="Correct them."
            )
        if self.threads is not None and self.threads < 1:
            raise SourceError(f"there cannot be {self.threads} threads.", remedy="Give at least 1.")

    @property
    def imports(self) -> ImportOptions:
        """What the importers have to know."""
        return ImportOptions(text=self.text, files=self.files, drop=self.typing.drop)

    @property
    def of_bytes(self) -> "PackOptions":
        """The options that the bytes of the shards depend on; the others as they are by default."""
        return replace(self, overwrite=False, work=None, threads=None, memory_bytes=MEMORY_BYTES)
