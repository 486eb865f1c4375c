from pathlib import Path

import pytest

from distmtl.config import load_config, parse_config, resolve_env
from distmtl.config.environment import expand
from distmtl.errors import ConfigError

VALID = Path(__file__).with_name("valid.yaml").read_text()


@pytest.fixture(autouse=True)
def runs(folder: Path) -> None:
    Path("runs.d").mkdir()


def load(uri: str) -> str:
    Path("runs.d/run.yaml").write_text(VALID.replace("uri: data/adult", f"uri: {uri}"))
    return load_config("runs.d/run.yaml").sources["adult"].uri


def resolved(uri: str) -> str:
    Path("runs.d/run.yaml").write_text(VALID.replace("uri: data/adult", f"uri: {uri}"))
    return resolve_env(load_config("runs.d/run.yaml")).sources["adult"].uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("${env:A}/x", "1/x"),
        ("${env:A}${env:A}", "11"),
        ("${env:NO:-d/e}", "d/e"),
        ("${env:NO:-}", ""),
        ("${env:EMPTY:-d}", "d"),
        ("${env:EMPTY}", ""),
        ("$A {env:A}", "$A {env:A}"),
    ],
)
def test_expand(text: str, expected: str) -> None:
    assert expand(text, {"A": "1", "EMPTY": ""}) == expected


def test_an_absolute_value_stays_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_DATA", "/data")
    assert load("${env:DISTMTL_DATA}/glue5") == "${env:DISTMTL_DATA}/glue5"
    assert resolved("${env:DISTMTL_DATA}/glue5") == "/data/glue5"


def test_a_bucket_stays_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISTMTL_DATA", "s3://bucket")
    assert load("${env:DISTMTL_DATA}/glue5") == "${env:DISTMTL_DATA}/glue5"


def test_a_relative_value_is_relative_to_the_file(folder: Path) -> None:
    assert load("${env:NO:-../d}/x") == f"{folder}/runs.d/${{env:NO:-../d}}/x"
    assert Path(resolved("${env:NO:-../d}/x")).resolve() == folder / "d/x"


def test_secrets_are_not_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "s3cret")
    Path("run.yaml").write_text(VALID + "store: s3://bucket/${env:TOKEN}\n")
    config = load_config("run.yaml")
    assert "s3cret" not in config.model_dump_json()
    assert resolve_env(config).store == "s3://bucket/s3cret"


def test_resolving_names_the_variable_and_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOMEWHERE", "/x")
    Path("run.yaml").write_text(VALID + "store: ${env:SOMEWHERE}\n")
    config = load_config("run.yaml")
    assert parse_config(config.model_dump(mode="json")) == config
    monkeypatch.delenv("SOMEWHERE")
    with pytest.raises(ConfigError) as caught:
        resolve_env(config)
    assert str(caught.value) == (
        "store: the environment variable SOMEWHERE is not set. Set it, or write ${env:SOMEWHERE:-default}."
    )
