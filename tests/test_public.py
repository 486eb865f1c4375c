"""The public face of the package, and what importing it may cost."""

import subprocess
import sys

import pytest

import distmtl


def test_every_public_name_can_be_used() -> None:
    import distmtl.data.packing
    import distmtl.training.loop

    for name in distmtl.__all__:
        assert getattr(distmtl, name) is not None
    assert callable(distmtl.train)
    assert callable(distmtl.pack)
    assert callable(distmtl.data.pack)


@pytest.mark.parametrize(
    "statement",
    [
        "import distmtl",
        "import distmtl.cli",
        "import distmtl.config",
        "import distmtl.data, distmtl.store",
        "import distmtl.sampling.build, distmtl.balancing.build",
        "from distmtl import load_config, pack, open_source",
    ],
)
def test_importing_is_cheap(statement: str) -> None:
    code = f"import sys; {statement}; print(sorted({{'torch', 'ray'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        distmtl.trian  # noqa: B018
