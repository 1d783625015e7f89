"""Whole nights at the same time, each in a process of its own, as a shell or Airflow starts them."""

import datetime as dt
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from jobs import sample_chain
from tests.jobs.faults.states import differing, rows_of

DATES = [sample_chain.Settings.first_date + dt.timedelta(days) for days in range(2)]
TRY_AGAIN = 75


@pytest.fixture(scope="module")
def landing(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("two_dates") / "sample"
    sample_chain.write_chain(sample_chain.Settings(out=out, receipts_per_day=60, stores=2, days=2))
    return out / "landing"


@pytest.fixture(scope="module")
def nightly(landing, model_folder):
    """Return the command of a night: `nightly(warehouse, date)`."""

    def command(warehouse: Path, *dates: dt.date) -> list[str]:
        flags = ["--landing", landing, "--warehouse", warehouse, "--model", model_folder, "--business-date", *dates]
        return ["jobs.nightly", *map(str, flags)]

    return command


def start(command: list[str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def together(*commands: list[str]) -> list[int]:
    """Run programs at the same time; return their exit codes, after a check of what the losers say."""
    programs = [start(command) for command in commands]
    codes = []
    for program in programs:
        output, _ = program.communicate()
        codes.append(program.returncode)
        last = [line for line in output.splitlines() if line.startswith("error: ")][-1:]
        print(program.args[2:4], program.returncode, *last)
        if program.returncode:
            assert program.returncode == TRY_AGAIN, output[-3000:]
            assert "run again" in last[0]
    return codes


@pytest.fixture(scope="module")
def clean(nightly, tmp_path_factory) -> Path:
    """A warehouse after the nights of both dates, one after the other."""
    warehouse = tmp_path_factory.mktemp("clean_nights") / "warehouse"
    assert together(nightly(warehouse, *DATES)) == [0]
    return warehouse


@pytest.mark.parametrize("is_new", [True, False])
def test_two_nights_of_one_date_end_with_one_winner(clean, nightly, tmp_path, is_new):
    warehouse = tmp_path / "warehouse"
    if not is_new:
        shutil.copytree(clean, warehouse)
    command = nightly(warehouse, DATES[0])
    codes = together(command, command)
    if all(codes):  # each has stopped the other
        assert together(command) == [0]
    assert together(nightly(warehouse, DATES[1])) == [0]
    assert differing(rows_of(warehouse), rows_of(clean)) == set()


def test_night_beside_backfill_beside_housekeeping_ends_as_if_they_had_run_one_after_the_other(
    clean, nightly, tmp_path
):
    warehouse = shutil.copytree(clean, tmp_path / "warehouse")
    shutil.rmtree(warehouse / "analytics" / "age_offers")
    commands = [
        nightly(warehouse, DATES[1]),
        nightly(warehouse, DATES[0]),
        ["jobs.keep_house", "--warehouse", str(warehouse), "--delete"],
    ]
    for command, code in zip(commands, together(*commands), strict=True):
        assert not code or together(command) == [0]
    assert together(["jobs.rebuild_windows", "--warehouse", str(warehouse)]) == [0]
    assert differing(rows_of(warehouse), rows_of(clean)) == set()
