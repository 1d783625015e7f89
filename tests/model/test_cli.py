import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from model.cli import InputError, TryAgainError, run


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of a program."""

    folder: Path
    """Where to look."""
    n_days: int = 7
    """How far back, days."""


@pytest.fixture
def call(monkeypatch):
    """Run a program with a command line; returns what its main was given, and the exit code."""

    def make(arguments, main=None):
        given = []

        def keep(settings: Settings) -> None:
            given.append(settings)

        monkeypatch.setattr(sys, "argv", ["program", *arguments])
        with pytest.raises(SystemExit) as stop:
            run(main or keep, Settings)
        return given, stop.value.code

    return make


def test_flags_become_settings_and_success_exits_with_0(call):
    assert call(["--folder", "x", "--n-days", "28"]) == ([Settings(folder=Path("x"), n_days=28)], 0)


@pytest.mark.parametrize("wrong", [[], ["--folder", "x", "--n-days", "many"], ["--folder", "x", "--colour", "red"]])
def test_wrong_flag_exits_with_2_and_nothing_runs(call, wrong, capsys):
    assert call(wrong) == ([], 2)
    assert "Traceback" not in capsys.readouterr().err


def test_input_error_is_one_line_and_exits_with_2(call, capsys):
    def main(settings: Settings) -> None:
        raise InputError(f"--folder is {settings.folder}; it must exist")

    assert call(["--folder", "x"], main)[1] == 2
    assert capsys.readouterr().err == "error: --folder is x; it must exist\n"


def test_temporary_error_is_one_line_and_exits_with_75(call, capsys):
    def main(settings: Settings) -> None:
        raise TryAgainError(f"{settings.folder} was changed by another job; run again")

    assert call(["--folder", "x"], main)[1] == 75
    assert capsys.readouterr().err == "error: x was changed by another job; run again\n"


@pytest.mark.parametrize(("error", "code"), [(InputError, 2), (TryAgainError, 75)])
def test_an_error_of_several_lines_is_printed_on_one(call, capsys, error, code):
    def main(_: Settings) -> None:
        raise error("--folder a\nb\x1b[31m\N{LEFT-TO-RIGHT EMBEDDING} is missing; wanted Käse")

    assert call(["--folder", "x"], main)[1] == code
    assert capsys.readouterr().err == r"error: --folder a\nb\x1b[31m\u202a is missing; wanted Käse" + "\n"


def test_defect_keeps_its_traceback(monkeypatch):
    def main(_: Settings) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(sys, "argv", ["program", "--folder", "x"])
    with pytest.raises(ZeroDivisionError):
        run(main, Settings)


def test_help_shows_each_flag_and_its_default(call, capsys):
    assert call(["--help"])[1] == 0
    text = capsys.readouterr().out
    assert "--folder" in text
    assert "How far back, days." in text
    assert "7" in text


def test_input_error_can_be_imported_without_tyro():
    program = "import sys; sys.modules['tyro'] = None; from model.cli import InputError"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
