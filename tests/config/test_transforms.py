"""Transforms in a run file: choices with their own keys, files relative to it, no labels."""

from pathlib import Path
from typing import Any

import pytest

from distmtl.config import changes, config_hash, load_config
from distmtl.errors import ConfigError

RUN = """
name: texts
sources:
  news:
    uri: data/news
    inputs: {tokens: tokens}
    transforms:
      - {kind: tokenise, columns: [title, text], tokenizer: words/tokenizer.json}
      - {kind: vocabulary, column: city, file: words/cities.txt}
      - {kind: custom, target: "my_parts:Loud", args: {file: as/it/is}}
tasks:
  topic: {source: news, target: topic, kind: multiclass}
train: {steps: 5}
"""


def write(folder: Path, text: str = RUN) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "run.yaml").write_text(text)
    return folder / "run.yaml"


def test_files_are_relative_to_the_run_file(folder: Path) -> None:
    config = load_config(write(folder / "runs"), ["sources.news.uri=here"])
    tokenise, vocabulary, custom = config.sources["news"].transforms
    assert tokenise.tokenizer == str(folder / "runs/words/tokenizer.json")  # type: ignore[union-attr]
    assert vocabulary.file == str(folder / "runs/words/cities.txt")  # type: ignore[union-attr]
    assert custom.args == {"file": "as/it/is"}  # type: ignore[union-attr]
    over = '[{kind: tokenise, columns: [text], tokenizer: "t.json"}]'
    config = load_config(folder / "runs" / "run.yaml", [f"sources.news.transforms={over}"])
    assert config.sources["news"].transforms[0].tokenizer == str(folder / "t.json")  # type: ignore[union-attr]


def test_files_may_move_and_the_rest_may_not(folder: Path) -> None:
    def of(text: str, *overrides: str) -> Any:
        return load_config(write(folder / "runs", text), overrides)

    first, moved = of(RUN), of(RUN.replace("words/", "/elsewhere/"))
    assert config_hash(first) == config_hash(moved)
    assert config_hash(of(RUN, "batch.transform_workers=3")) == config_hash(first)
    longer = of(RUN.replace("[title, text]", "[text]"))
    dumps = [config.model_dump(mode="json") for config in (first, longer)]
    assert changes(*dumps) == ["sources.news.transforms.0.columns"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: tokenise", "kind: tokenize", r"run\.yaml:8: .*transforms\.0\.kind: .*did you mean 'tokenise'"),
        (
            "column: city",
            "colum: city",
            r"run\.yaml:9: .*transforms\.1\.colum: unknown key 'colum'; did you mean 'column'",
        ),
        ("columns: [title, text]", "columns: []", r"transforms\.0\.columns: needs at least 1 entry"),
        (
            "text], ",
            "topic], ",
            r"tasks\.topic\.target: target 'topic' is read by a transform \(sources\.news\.transforms\.0",
        ),
        ("column: city", "column: topic", r"target 'topic' is read by a transform \(sources\.news\.transforms\.1"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, old: str, new: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        load_config(write(folder / "runs", RUN.replace(old, new)))
