"""Whole runs over sources with blocks that cannot be read."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import distmtl.data.feed
import distmtl.data.fetch
from distmtl.checkpoint.commit import find
from distmtl.checkpoint.reader import load
from distmtl.checkpoint.run import open_run_uri
from distmtl.config.run import RunConfig
from distmtl.data.source import open_source
from distmtl.errors import CorruptBlockError
from distmtl.orchestrate import train
from distmtl.orchestrate.check import check
from distmtl.orchestrate.job import Job
from distmtl.orchestrate.messages import Emitted, Message
from distmtl.orchestrate.worker import run_worker
from distmtl.orchestrate.worker_runtime import WorkerRuntime
from distmtl.parallel.world import Solo, World
from tests.processes import run_workers
from tests.runs import curve, losses, run_config, tensors, write_sources

BAD = {"shop": (1, 13), "news": (4,)}
ON = {"quarantine": {"max_blocks": 3}}


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return write_sources(tmp_path_factory.mktemp("sound"))


@pytest.fixture(scope="module")
def damaged(sound: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Both sources with bad blocks in train."""
    folder = tmp_path_factory.mktemp("damaged")
    return {name: _damage(Path(shutil.copytree(uri, folder / name)), "train", BAD[name]) for name, uri in sound.items()}


def _damage(source: Path, split: str, blocks: tuple[int, ...]) -> str:
    part = open_source(str(source)).split(split)
    for block in blocks:
        place = part.place(block)
        with (source / place.shard.key).open("r+b") as file:
            file.seek(place.offset + place.length // 2)
            byte = file.read(1)[0]
            file.seek(-1, 1)
            file.write(bytes([byte ^ 8]))
    return str(source)


@pytest.fixture(autouse=True)
def _as_large_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by windows, so that blocks are missed one after the other; and without pauses."""
    monkeypatch.setattr(distmtl.data.feed, "is_kept_whole", lambda *_: False)
    monkeypatch.setattr(distmtl.data.fetch, "PAUSE_S", 0.0)


def work(world: World, config: RunConfig) -> tuple[Any, list[str]]:
    """Train as one worker of several; the result, and what was said."""
    if world.size > 1:  # in a process of its own
        distmtl.data.feed.is_kept_whole = lambda *_: False
        distmtl.data.fetch.PAUSE_S = 0.0
    said: list[Message] = []
    result = run_worker(Job(config), WorkerRuntime(world, "test", lambda: False, said.append))
    texts = [message.event["text"] for message in said if isinstance(message, Emitted) and "text" in message.event]
    return result, texts


def quarantined(uri: str, step: int | None = None) -> Any:
    run = open_run_uri(uri)
    ref = next(ref for ref in find(run) if step is None or ref.step == step)
    return [tuple(entry) for entry in load(run, ref, Solo()).values["quarantine"]]


def cut_off(uri: str, after: int) -> None:
    run = open_run_uri(uri)
    for ref in find(run):
        if ref.step > after:
            run.store.clear(ref.key)


def assert_same(one: Any, other: Any, tolerance: float = 0.0) -> None:
    np.testing.assert_allclose(losses(one.run), losses(other.run), rtol=tolerance, atol=tolerance)
    expected = tensors(other.run)
    for name, tensor in tensors(one.run).items():
        torch.testing.assert_close(tensor, expected[name], rtol=tolerance, atol=tolerance, msg=name)


def test_by_default_the_first_bad_block_ends_the_run(damaged: dict[str, str], tmp_path: Path) -> None:
    with pytest.raises(CorruptBlockError, match="does not match its checksum") as caught:
        train(run_config(damaged, tmp_path))
    text = str(caught.value)
    name = next(name for name in BAD if f"source '{name}'" in text)
    assert damaged[name] in text
    assert any(f"block {block} of split 'train' (shard shards/" in text for block in BAD[name])
    assert "train.quarantine" in text


def test_a_run_does_without_bad_blocks_and_says_so(
    sound: dict[str, str], damaged: dict[str, str], tmp_path: Path
) -> None:
    result, said = work(Solo(), run_config(damaged, tmp_path, train=ON))
    entries = quarantined(result.run)
    assert result.step == 60
    assert {(source, block) for _, source, block in entries} == {(s, block) for s in BAD for block in BAD[s]}
    assert sum("the run does without a block" in text for text in said) == 3
    for (step, source, block), text in zip(entries, said[-3:], strict=True):
        assert text.startswith(f"from step {step} on")
        assert f"source '{source}'" in text
        assert f"block {block} of split 'train'" in text
    for step, line in curve(result.run).items():
        assert line["quarantined"] == sum(first < step for first, _, _ in entries)
    steps = sorted(first for first, _, _ in entries)
    whole = train(run_config(sound, tmp_path, name="sound"))
    same = (losses(result.run) == losses(whole.run)) | np.isnan(losses(whole.run))
    assert same[: steps[0]].all()
    assert not same[steps[0] :].all()


@pytest.mark.parametrize("after", [10, 30, 50])
def test_a_resumed_run_is_bit_equal_to_an_undisturbed_one(damaged: dict[str, str], tmp_path: Path, after: int) -> None:
    checkpoints = {"every": 10, "keep_last": 20}
    whole = train(run_config(damaged, tmp_path, name="whole", train=ON, checkpoint=checkpoints))
    config = run_config(damaged, tmp_path, name="parts", train=ON, checkpoint=checkpoints)
    cut_off(train(config).run, after)
    resumed = train(config)
    assert resumed.step == 60
    assert quarantined(resumed.run, after)
    assert sorted(quarantined(resumed.run)) == sorted(quarantined(whole.run))
    assert_same(resumed, whole)


@pytest.mark.dist
def test_workers_agree_and_a_run_goes_on_with_another_number_of_them(damaged: dict[str, str], tmp_path: Path) -> None:
    alone = train(run_config(damaged, tmp_path, name="alone", train=ON))
    config = run_config(damaged, tmp_path, name="two", train=ON)
    (two, said), (other, _) = run_workers(work, 2, config)
    assert (two.step, two.world_size) == (other.step, other.world_size) == (60, 2)
    assert sorted(quarantined(two.run)) == sorted(quarantined(alone.run))
    assert sum("does without a block" in text for text in said) == 3
    assert_same(two, alone, 1e-10)
    cut_off(two.run, 20)
    entries = quarantined(two.run)
    assert entries
    resumed = train(config)
    assert resumed.world_size == 1
    assert quarantined(resumed.run)[: len(entries)] == entries
    assert_same(resumed, alone, 1e-10)


def test_beyond_the_limit_the_run_ends_and_can_go_on_with_a_higher_one(damaged: dict[str, str], tmp_path: Path) -> None:
    config = run_config(damaged, tmp_path, train={"quarantine": {"max_blocks": 2}}, checkpoint={"every": 1})
    with pytest.raises(CorruptBlockError, match=r"max_blocks \(2\) is used up"):
        train(config)
    uri = open_run_uri(str(tmp_path / "small")).uri
    assert len(quarantined(uri)) == 2
    resumed = train(run_config(damaged, tmp_path, train=ON, checkpoint={"every": 1}))
    assert len(quarantined(resumed.run)) == 3


def test_evaluation_replaces_nothing(sound: dict[str, str], tmp_path: Path) -> None:
    uris = sound | {"news": _damage(Path(shutil.copytree(sound["news"], tmp_path / "news")), "valid", (0,))}
    with pytest.raises(CorruptBlockError, match="block 0 of split 'valid'"):
        train(run_config(uris, tmp_path, train=ON))


def test_check_says_that_blocks_may_be_left_out(sound: dict[str, str], tmp_path: Path) -> None:
    assert not any("unreadable" in warning for warning in check(run_config(sound, tmp_path)).warnings)
    (warning,) = [text for text in check(run_config(sound, tmp_path, train=ON)).warnings if "unreadable" in text]
    assert "up to 3 unreadable blocks" in warning
