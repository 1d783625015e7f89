"""SIGTERM and Ctrl-C end a program and every process that it has started."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import JAVA_OPTIONS

Start = Callable[..., "Program"]
Wait = Callable[[Callable[[], object]], None]
WaitUntilEnded = Callable[[int], None]


class Program:
    """A Python process and the descendants seen so far."""

    def __init__(self, *arguments: str | Path) -> None:
        command = [sys.executable, *map(str, arguments)]
        self.process = psutil.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.descendants: set[psutil.Process] = set()

    def has_started(self, *programs: str) -> bool:
        """Return whether each program is in the command line of a descendant."""
        self.descendants |= set(self.process.children(recursive=True))
        lines = []
        for descendant in self.descendants:
            with suppress(psutil.NoSuchProcess):
                lines.append(" ".join(descendant.cmdline()))
        return all(any(program in line for line in lines) for program in programs)

    def end_with(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=30)


@pytest.fixture
def start() -> Iterator[Callable[..., Program]]:
    """Run Python; kill the remaining processes after the test."""
    programs: list[Program] = []

    def run(*arguments: str | Path) -> Program:
        programs.append(Program(*arguments))
        return programs[-1]

    yield run
    for program in programs:
        for process in (program.process, *program.descendants):
            if process.is_running():
                process.kill()
        program.process.wait()


def test_demo_ends_its_training(
    start: Start, tmp_path: Path, wait_until: Wait, wait_until_ended: WaitUntilEnded
) -> None:
    demo = start("-m", "jobs.demo", "--workdir", tmp_path, "--receipts", "100", "--labelled", "100")
    wait_until(lambda: demo.has_started("model.train"))
    assert demo.end_with(signal.SIGTERM) == 143
    for child in demo.descendants:
        wait_until_ended(child.pid)


STUBBORN = """
import signal
from jobs import demo
demo.SHUTDOWN_SECONDS = 0.5
signal.signal(signal.SIGTERM, demo.exit_on_signal)
signal.signal(signal.SIGINT, demo.exit_on_signal)
with demo.child(["bash", "-c", "trap '' TERM; setsid sleep 300 & wait"]):
    pass
"""


@pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_demo_kills_a_program_that_ignores_sigterm_and_its_child_in_another_session(
    number: signal.Signals, exit_code: int, *, start: Start, wait_until: Wait, wait_until_ended: WaitUntilEnded
) -> None:
    program = start("-c", STUBBORN)
    # The command line of bash names sleep too.
    wait_until(lambda: program.has_started("bash -c") and len(program.descendants) == 2)
    assert program.end_with(number) == exit_code
    assert len(program.descendants) == 2
    for child in program.descendants:
        wait_until_ended(child.pid)


def test_nightly_run_ends_its_jvm_and_python_workers(  # noqa: PLR0917
    start: Start,
    chain: Path,
    model_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wait_until: Wait,
    wait_until_ended: WaitUntilEnded,
) -> None:
    """The JVM exits when its input is closed, and the workers when the JVM closes theirs."""
    model = tmp_path / "model"
    shutil.copytree(model_folder, model, copy_function=os.link)
    # In place of the folder of the package: the network is not even exported, which would take longer than the rest.
    (tmp_path / "model.compiled").touch()
    places = ["--landing", chain / "landing", "--warehouse", tmp_path / "warehouse", "--model", model]
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", JAVA_OPTIONS)
    nightly = start("-m", "jobs.nightly", "--business-date", "2026-11-09", *places)
    wait_until(lambda: nightly.has_started("SparkSubmit", "pyspark.daemon"))
    assert nightly.end_with(signal.SIGTERM) != 0
    for child in nightly.descendants:
        wait_until_ended(child.pid)
