from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from distmtl.cli.terminal import age, metrics_table, near, number, percent, size, workers


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**20, "5.0 MiB"), (2**50, "1024.0 TiB")],
)
def test_size(size_bytes: int, text: str) -> None:
    assert size(size_bytes) == text


@pytest.mark.parametrize(
    ("share", "text"), [(0.0, "0%"), (1.0, "100%"), (0.056, "5.6%"), (0.0003, "0.03%"), (0.99999, "100.00%")]
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (float("nan"), "-"), (0.87654, "0.8765"), (12345.6, "1.235e+04")]
)
def test_number(value: float | None, text: str) -> None:
    assert number(value) == text


def test_age() -> None:
    assert age(None) == "-"
    assert age(datetime.now(UTC) - timedelta(minutes=3, seconds=5)).startswith("3m0")
    assert age(datetime.now(UTC) + timedelta(hours=1)) == "0s"


def test_near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert near(f"{tmp_path}/runs/a") == "runs/a"
    assert near(f"file://{tmp_path}/runs/a") == "runs/a"
    assert near("/elsewhere/runs/a") == "/elsewhere/runs/a"
    assert near("s3://bucket/runs/a") == "s3://bucket/runs/a"


def test_workers() -> None:
    assert [workers(count) for count in (1, 2)] == ["1 worker", "2 workers"]


def test_the_loss_is_the_last_column() -> None:
    table = metrics_table({"a": {"loss": 1.0, "f1": 0.5}, "b": {"rmse": 2.0}})
    assert [column.header for column in table.columns] == ["task", "f1", "rmse", "loss"]
