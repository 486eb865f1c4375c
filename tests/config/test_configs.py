"""The committed run files are right."""

from pathlib import Path

import pytest

from distmtl.config import load_config

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=[path.name for path in CONFIGS])
def test_it_loads_and_its_sources_are_beside_it(path: Path) -> None:
    config = load_config(path)
    assert config.name == path.stem
    for source in config.sources.values():
        assert source.uri.startswith(str(path.parents[1]))
