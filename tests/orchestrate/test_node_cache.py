"""The run file's cache of remote blocks: workers share it, and ``check`` says when it is of no use."""

import shutil
from pathlib import Path

import pytest

from distmtl.data.node_cache import NodeCache
from distmtl.orchestrate import train
from distmtl.orchestrate.check import check
from distmtl.orchestrate.prepare import prepare
from tests.runs import losses, run_config, write_sources


@pytest.fixture
def remote(tmp_path: Path) -> dict[str, str]:
    """Sources behind a URI that counts as remote."""
    return {name: f"local://{uri}" for name, uri in write_sources(tmp_path / "sources").items()}


def cache_of(config: object) -> NodeCache | None:
    return prepare(config).sources["shop"].cache  # type: ignore[arg-type]


def test_where_it_is(remote: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_CACHE_DIR", str(tmp_path / "default"))
    found = cache_of(run_config(remote, tmp_path))
    assert found is not None
    assert (found.folder, found.limit_bytes) == (tmp_path / "default", 16 * 2**30)
    given = {"cache": {"folder": "${env:DISTMTL_CACHE_DIR}/blocks", "bytes": 1000}}
    found = cache_of(run_config(remote, tmp_path, launch=given))
    assert found is not None
    assert (found.folder, found.limit_bytes) == (tmp_path / "default" / "blocks", 1000)
    assert cache_of(run_config(remote, tmp_path, launch={"cache": {"bytes": 0}})) is None
    local = {name: uri.removeprefix("local://") for name, uri in remote.items()}
    assert cache_of(run_config(local, tmp_path)) is None


@pytest.mark.dist
@pytest.mark.slow
def test_a_second_run_needs_no_shard(remote: dict[str, str], tmp_path: Path) -> None:
    sections = {"train": {"steps": 30}, "launch": {"cache": {"folder": str(tmp_path / "cache")}}}
    first = train(run_config(remote, tmp_path, name="first", **sections), runtime="torchrun", workers=2)
    for uri in remote.values():
        shutil.rmtree(Path(uri.removeprefix("local://"), "shards"))
    second = train(run_config(remote, tmp_path, name="second", **sections), runtime="torchrun", workers=2)
    assert second.tasks == first.tasks
    assert losses(second.run).tobytes() == losses(first.run).tobytes()


def test_check_says_that_nothing_can_be_kept(remote: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder, warned in ((tmp_path / "file" / "cache", True), (tmp_path / "cache", False)):
        config = run_config(remote, tmp_path, launch={"cache": {"folder": str(folder)}})
        if warned:
            with pytest.warns(RuntimeWarning, match="cannot be kept here"):
                warnings = check(config).warnings
        else:
            warnings = check(config).warnings
        assert any(f"{folder}: blocks cannot be kept here" in warning for warning in warnings) == warned
