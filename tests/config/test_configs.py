"""The committed run files are right."""

from pathlib import Path

import pytest

from distmtl.config import load_config
from distmtl.config.environment import resolve_env

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))


@pytest.mark.parametrize("path", CONFIGS, ids=[path.name for path in CONFIGS])
def test_it_loads_and_its_sources_are_beside_it(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_DATA", str(path.parents[1] / "data"))
    config = load_config(path)
    assert config.name == path.stem
    for source in resolve_env(config).sources.values():
        assert source.uri.startswith(str(path.parents[1]))
