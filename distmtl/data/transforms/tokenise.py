"""Text to the ids of a trained tokenizer, with Hugging Face's ``tokenizers``."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from distmtl.data.transforms.base import ColumnInfo, ColumnValues, RowBatch
from distmtl.data.transforms.columns import require
from distmtl.data.transforms.ragged import Ragged
from distmtl.data.transforms.specs import TokeniseSpec
from distmtl.data.transforms.text import sequence_infos
from distmtl.errors import ConfigError, ResourceError

_PADS = ("[PAD]", "<pad>", "<|endoftext|>")
"""Usual names of the id that fills up, for tokenizers that do not say."""


class Tokenise:
    """See :class:`~distmtl.data.transforms.specs.TokeniseSpec`.

    Raises:
        ConfigError: The tokenizer's file cannot be read.
        ResourceError: The package is not installed.
    """

    def __init__(self, spec: TokeniseSpec) -> None:
        self._spec = spec
        self.reads: Sequence[str] = spec.columns
        self._tokenizer = _load(spec.tokenizer)
        self._pad = _pad(self._tokenizer) if spec.pad is None else spec.pad
        self._tokenizer.no_padding()
        try:
            self._tokenizer.enable_truncation(spec.max_length)
        except Exception as error:  # the library raises plain Exception
            raise ConfigError(f"max_length {spec.max_length} is too small: {error}.", remedy="Raise it.") from error

    def describe(self, columns: Mapping[str, ColumnInfo]) -> dict[str, ColumnInfo]:
        """A sequence of ids, and one of types where asked."""
        spec = self._spec
        for name in self.reads:
            require(columns, name, "text")
        size = max(self._tokenizer.get_vocab_size(), self._pad + 1)
        return sequence_infos(spec.into, spec.types, size, spec.max_length, self._pad)

    def apply(self, rows: RowBatch) -> dict[str, ColumnValues]:
        """The ids of each row; a null text counts as an empty one."""
        texts = [rows.columns[name].to_pylist() for name in self.reads]
        found = self._tokenizer.encode_batch_fast([_input(*row) for row in zip(*texts, strict=True)])
        made: dict[str, ColumnValues] = {self._spec.into: Ragged.of([one.ids for one in found])}
        return made | ({self._spec.types: Ragged.of([one.type_ids for one in found])} if self._spec.types else {})


def _input(first: str | None, second: str | None = None) -> str | tuple[str, str]:
    return (first or "") if second is None else (first or "", second)


def _load(given: str) -> Any:
    # Its own threads would take the cores of other workers; batch.transform_workers is how to use more of them.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        from tokenizers import Tokenizer
    except ImportError as error:
        raise ResourceError(
            "'tokenise' needs the package 'tokenizers'.", remedy="Run pip install 'distmtl[text]'."
        ) from error
    path = tokenizer_file(given)
    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception
        raise ConfigError(f"this is no tokenizer: {error}.", str(path), "Give a tokenizer.json.") from error


def tokenizer_file(given: str) -> Path:
    """The ``tokenizer.json`` that is meant by its path or by its folder's.

    Raises:
        ConfigError: There is no such file.
    """
    path = Path(given)
    path = path / "tokenizer.json" if path.is_dir() else path
    if not path.is_file():
        raise ConfigError("there is no such tokenizer.", str(path), "Give a tokenizer.json or its folder.")
    return path


def _pad(tokenizer: Any) -> int:
    """The id that fills rows up: what the tokenizer says, or the usual one that it knows, or 0."""
    if tokenizer.padding:
        return int(tokenizer.padding["pad_id"])
    named = (tokenizer.token_to_id(name) for name in _PADS)
    return next((number for number in named if number is not None), 0)
