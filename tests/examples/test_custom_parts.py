"""The user's own parts run together, on any number of workers, and resume exactly."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import open_run_uri
from distmtl.config import RunConfig
from distmtl.orchestrate import train
from tests.runs import curve, losses, run_config, tensors, write_sources

ROOT = Path(__file__).parent.parent.parent
PARTS = ROOT / "examples" / "custom"


@pytest.fixture(scope="module")
def uris(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sources"))


def _config(uris: dict[str, str], store: Path, name: str) -> RunConfig:
    """The documented sections in the small run."""
    block = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs" / "custom-parts.md").read_text(), re.DOTALL)[0]
    sections: dict[str, Any] = yaml.safe_load(block)
    return run_config(uris, store, name=name, train={"steps": 80}, **sections)


@pytest.mark.dist
def test_custom_parts_together(uris: dict[str, str], tmp_path: Path) -> None:
    alone = train(_config(uris, tmp_path, "alone"), base=str(PARTS))
    mixtures = [tuple(line["mixture"].values()) for line in curve(alone.run).values()]
    assert len(set(mixtures)) > 3
    assert len(set(mixtures[:16])) == 1

    both = train(_config(uris, tmp_path, "both"), base=str(PARTS), runtime="torchrun", workers=2)
    np.testing.assert_allclose(losses(both.run), losses(alone.run), rtol=1e-9, atol=1e-9)
    expected = tensors(alone.run)
    for name, tensor in tensors(both.run).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-9, atol=1e-9, msg=name)

    run = open_run_uri(str(tmp_path / "both"))
    for ref in find(run):
        if ref.step > 45:
            run.store.clear(ref.key)
    resumed = train(_config(uris, tmp_path, "both"), base=str(PARTS))
    np.testing.assert_allclose(losses(resumed.run), losses(alone.run), rtol=1e-9, atol=1e-9)
    assert [tuple(line["mixture"].values()) for line in curve(resumed.run).values()] == mixtures
