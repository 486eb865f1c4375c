"""The commands ``pack`` and ``source``, from the files that people have to what they read."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from distmtl.cli.pack import command as pack_command
from distmtl.cli.source import command as source_command
from distmtl.data.source import open_source
from distmtl.errors import CorruptBlockError, SourceError

ADULT = Path(__file__).parents[2] / "examples" / "adult"
CSV = "id,age,city,code,joined,y\n" + "".join(
    f"{i},{'' if i % 4 == 0 else 20 + i},{'Köln' if i % 2 else ' Rome '},0{i % 3},2024-01-0{1 + i % 9},{i % 2}\n"
    for i in range(40)
)


def run(command: object, *arguments: str) -> str:
    result = CliRunner().invoke(command, list(arguments), catch_exceptions=False)  # type: ignore[arg-type]
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def table(tmp_path: Path) -> str:
    (tmp_path / "people.csv").write_text(CSV, encoding="utf-8")
    return str(tmp_path / "people.csv")


def test_a_csv_file_without_any_option(table: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    output = run(pack_command, table, "--out", out, "--json")
    found = json.loads(output.splitlines()[-1])
    assert found["splits"] == {
        "train": {"rows": 32, "blocks": 1},
        "valid": {"rows": 4, "blocks": 1},
        "test": {"rows": 4, "blocks": 1},
    }
    kinds = {name: column["kind"] for name, column in found["columns"].items()}
    assert kinds == {
        "id": "numeric",
        "age": "numeric",
        "city": "categorical",
        "code": "categorical",
        "joined": "numeric",
        "y": "numeric",
    }
    assert "split at random" in output
    assert '      numeric: [id, age, joined, "y"]' in output
    assert open_source(out).column("city").vocabulary == ("Köln", "Rome")


def test_options_reach_the_source(table: str, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    output = run(
        pack_command, table, "--out", out, "--fractions", "train=0.5,valid=0.5", "--seed", "3", "--order", "keep",
        "--categorical", "id", "--numeric", "code", "--drop", "joined, city", "--null", "25", "--max-vocabulary", "7",
        "--block-rows", "8", "--compression", "zstd", "--json",
    )  # fmt: skip
    found = json.loads(output.splitlines()[-1])
    assert {name: (column["kind"]) for name, column in found["columns"].items()} == {
        "id": "categorical",
        "age": "categorical",
        "code": "numeric",
        "y": "numeric",
    }
    assert found["splits"]["valid"] == {"rows": 20, "blocks": 3}
    assert found["columns"]["id"]["vocabulary"] == 7
    assert found["packed"]["order"] == "keep"


def test_splits_by_file_and_headers(tmp_path: Path) -> None:
    for name in "abc":
        (tmp_path / f"{name}.txt").write_text("1#x\n2#y\n")
    out = str(tmp_path / "out")
    splits = ["--split", f"train={tmp_path}/[ab].txt", "--split", f"val={tmp_path}/c.txt"]
    run(pack_command, *splits, "--out", out, "--header", "n,w", "--delimiter", "#")
    assert {name: info.rows for name, info in open_source(out).manifest.splits.items()} == {"train": 4, "valid": 2}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--split", "train"], "not NAME=VALUE"),
        (["--fractions", "train=all"], "'all'"),
        (["--tensor", "x=uint8"], "tensor layout"),
        (["--drop", "jioned"], "Did you mean 'joined'"),
        (["--block-rows", "3"], "power of two"),
    ],
)
def test_wrong_options_say_what_is_wrong(table: str, tmp_path: Path, arguments: list[str], message: str) -> None:
    files = [] if arguments[0] == "--split" else [table]
    with pytest.raises(SourceError, match=message) as caught:
        run(pack_command, *files, "--out", str(tmp_path / "out"), *arguments)
    assert caught.value.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_files_and_splits_do_not_mix(table: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="both with and without --split"):
        run(pack_command, table, "--split", f"train={table}", "--out", str(tmp_path / "out"))


def test_names_are_not_markup(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("[bold]x,a: b\n[red]w[/],1\n[/link],2\n")
    output = run(pack_command, str(tmp_path / "a.csv"), "--out", str(tmp_path / "out"), "--fractions", "train=1")
    assert "[bold]x" in output
    assert '["a: b"]' in output
    assert "[red]w[/]" in run(source_command, str(tmp_path / "out"), "--rows", "2")


def test_the_example_packs_and_shows_its_labels(tmp_path: Path) -> None:
    out = str(tmp_path / "packed")
    packed = json.loads(run(pack_command, f"{ADULT}/*.parquet", "--out", out, "--json").splitlines()[-1])
    assert {name: split["rows"] for name, split in packed["splits"].items()} == {
        "train": 29305,
        "valid": 3256,
        "test": 16281,
    }
    output = run(source_command, out, "--verify", "--rows", "2", "--json")
    found = json.loads(output.splitlines()[-1])
    assert found["problems"] == []
    assert found["columns"]["y_income"]["balance"]["train"] == {"0": 22251, "1": 7054}
    assert found["columns"]["y_occupation"]["nulls"] == {"train": 1648, "valid": 195, "test": 966}
    assert len(found["sample"]) == 2
    assert "Every checksum matches: 3 shards" in output


def test_a_damaged_source_ends_with_an_error(table: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run(pack_command, table, "--out", str(out))
    shard = next(out.rglob("*.parquet"))
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(CorruptBlockError, match="1 checksums"):
        run(source_command, str(out), "--verify")
    with pytest.raises(SourceError, match="no split 'dev'"):
        run(source_command, str(out), "--rows", "1", "--split", "dev")
