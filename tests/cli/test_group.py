"""The group of commands: what it loads, and how errors end it."""

import importlib
import subprocess
import sys
import types

import click
import pytest

from distmtl import errors
from distmtl.cli.group import COMMANDS
from distmtl.errors import ConfigError, DistmtlError

EXPECTED = ["pack", "source", "check", "train", "eval", "runs", "show", "checkpoints"]


def test_help_names_every_command_and_every_exit_code(invoke) -> None:
    result = invoke("--help")
    assert result.exit_code == 0
    listed = [line.split()[0] for line in result.output.split("Commands:")[1].strip().splitlines()]
    assert listed == EXPECTED
    for code in range(5):
        assert f"\n    {code}    " in result.output


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys\nfrom distmtl.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'ray', 'pyarrow', 'numpy', 'pydantic', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_wrong_run_file_is_refused_without_torch(tmp_path) -> None:
    code = (
        "import sys\nfrom distmtl.cli import main\n"
        f"try:\n    main(['train', '{tmp_path}/none.yaml'])\nexcept SystemExit as end:\n    assert end.code == 2\n"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=False).returncode == 0


@pytest.mark.parametrize("name", EXPECTED)
def test_every_command_has_a_manual_page(invoke, name: str) -> None:
    result = invoke(name, "--help")
    assert result.exit_code == 0, result.output
    assert result.output.startswith(f"Usage: distmtl {name} ")
    command = importlib.import_module(COMMANDS[name][0]).command
    assert command.name == name


def test_an_unknown_command_offers_the_nearest(invoke) -> None:
    result = invoke("trian")
    assert result.exit_code == 2
    assert "there is no command 'trian'; did you mean 'train'?" in result.stderr


def test_version(invoke) -> None:
    assert invoke("--version").output.startswith("distmtl, version ")


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch):
    """A command ``fail`` that raises what is given."""

    def install(error: BaseException) -> None:
        def fail() -> None:
            raise error

        module = types.ModuleType("failing")
        module.command = click.command(name="fail")(fail)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "failing", module)
        monkeypatch.setitem(COMMANDS, "fail", ("failing", "Fails."))

    return install


ERRORS = [
    cls
    for cls in vars(errors).values()
    if isinstance(cls, type) and issubclass(cls, DistmtlError) and cls.exit_code != 1
]


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_is_one_line_and_its_exit_code(invoke, failing, kind: type[DistmtlError]) -> None:
    failing(kind("it broke.", "somewhere", "Mend it."))
    result = invoke("fail")
    assert result.exit_code == kind.exit_code
    assert result.stderr == f"error {kind.code}: somewhere: it broke. Mend it.\n"
    assert result.stdout == ""


def test_several_problems_are_a_line_each(invoke, failing) -> None:
    failing(ConfigError("a.yaml:1: x: wrong.\na.yaml:2: y: wrong."))
    assert invoke("fail").stderr == "error E210: a.yaml:1: x: wrong.\nerror E210: a.yaml:2: y: wrong.\n"


def test_a_bug_shows_its_traceback_and_asks_for_a_report(invoke, failing) -> None:
    failing(ZeroDivisionError("oh"))
    result = invoke("fail")
    assert result.exit_code == 1
    assert "Traceback" in result.stderr
    assert "ZeroDivisionError: oh" in result.stderr
    assert result.stderr.endswith("This is a bug in distmtl; please report it with the lines above.\n")


def test_an_error_of_a_worker_shows_where_it_came_from(invoke, failing) -> None:
    failing(errors.WorkerError("ValueError: oh", "rank 1"))
    result = invoke("fail")
    assert result.exit_code == 1
    assert "error E100: rank 1: ValueError: oh" in result.stderr


def test_an_interrupt_says_so(invoke, failing) -> None:
    failing(KeyboardInterrupt())
    result = invoke("fail")
    assert (result.exit_code, result.stderr) == (130, "interrupted\n")
