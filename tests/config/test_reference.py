from pathlib import Path

from distmtl.config.reference import reference

PAGE = Path(__file__).parent.parent.parent / "docs" / "run-file.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text(encoding="utf-8") == reference(), "run 'make schema'"


def test_every_key_has_a_meaning() -> None:
    for line in reference().splitlines():
        if line.startswith("| `") and not line.startswith("| `kind`"):
            assert not line.endswith("|  |"), line
