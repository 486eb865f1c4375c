"""The commands ``pack`` and ``source``, from the files that people have to what they read."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from distmtl.cli.pack import command as pack_command
from distmtl.cli.pack_progress import progress_text
from distmtl.cli.source import command as source_command
from distmtl.data.ingest.progress import Progress
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


def test_append_groups_and_text(tmp_path: Path) -> None:
    rows = "".join(f"{i % 7},word {i},{i}\n" for i in range(100))
    (tmp_path / "a.csv").write_text("user,said,n\n" + rows)
    out = str(tmp_path / "out")
    command = [str(tmp_path / "a.csv"), "--out", out, "--group-by", "user", "--text", "said", "--threads", "1",
               "--work", str(tmp_path / "work"), "--fractions", "train=0.7,valid=0.3"]  # fmt: skip
    first = json.loads(run(pack_command, *command, "--json").splitlines()[-1])
    found = json.loads(run(pack_command, *command, "--append", "--json").splitlines()[-1])
    assert found["rows"] == 200
    assert found["columns"]["said"]["kind"] == "text"
    assert found["columns"]["said"]["max_length"] == 7
    assert found["packed"]["appended_to"] == first["digest"]
    assert "rows" not in run(source_command, out, "--digest", first["digest"]).splitlines()[0]
    assert open_source(out, first["digest"]).manifest.rows == 100


def test_every_kind_is_shown(tmp_path: Path) -> None:
    table = pa.table(
        {
            "skewed": [float(i**3) for i in range(64)],
            "label": [0] * 60 + [1] * 4,
            "raw": pa.array([b"abc", None] * 32, pa.binary()),
            "tokens": pa.array([list(range(n % 9)) for n in range(64)], pa.list_(pa.int32())),
            "image": pa.array([[1, 2]] * 64, pa.list_(pa.uint8())),
            "long": ["a sentence that is longer than a cell of a table"] * 64,
        }
    )
    pq.write_table(table, tmp_path / "train.parquet")
    out = str(tmp_path / "out")
    run(pack_command, "--split", f"train={tmp_path}/train.parquet", "--out", out, "--order", "keep", "--text", "long")
    output = run(source_command, out, "--rows", "8")
    lines = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert "█▂▂▂▁▁▁▁" in output  # of the cubes 32, 8, 6, 5, 3, 4, 3, 3 are in eighths of their range
    assert "50.0 %" in output
    assert "93.8 %" in output
    assert "<3 bytes>" in lines["raw"]
    assert "[0, 1, 2, ... 6]" in lines["tokens"]
    assert "<uint8 [2]>" in lines["image"]
    assert "a sentence that is long…" in lines["long"]
    assert "ragged int32" in output
    assert "at most 8" in output


def test_progress_has_rate_and_time() -> None:
    assert progress_text(Progress("write", 1200, 5000, 2.0)) == "1,200 of 5,000 rows, 600/s, 6s left"
    assert progress_text(Progress("scan", 0, None, 0.0)) == "0 rows, 0/s"
