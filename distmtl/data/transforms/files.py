"""The files that transforms read: their contents decide a run's result, so a run pins their hashes."""

from collections.abc import Sequence
from pathlib import Path

import xxhash

from distmtl.data.transforms.specs import FILES, TokeniseSpec, TransformSpec
from distmtl.data.transforms.tokenise import tokenizer_file
from distmtl.spec import CustomSpec


def file_hashes(specs: Sequence[TransformSpec]) -> dict[str, str]:
    """Hash of each file that a source's transforms name, by the place of its key: ``0.tokenizer``.

    Raises:
        ConfigError: A tokenizer is not there.
        OSError: A file cannot be read.
    """
    hashes = {}
    for number, spec in enumerate(specs):
        for key in () if isinstance(spec, CustomSpec) else FILES:
            given = getattr(spec, key, None)
            if given is not None:
                path = tokenizer_file(given) if isinstance(spec, TokeniseSpec) else Path(given)
                hashes[f"{number}.{key}"] = xxhash.xxh3_64_hexdigest(path.read_bytes())
    return hashes
