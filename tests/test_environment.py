"""The installed packages match `constraints.txt` and the metadata of the project."""

import csv
import re
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import pytest
from packaging.markers import Marker

PROJECT = Path(__file__).resolve().parents[1]


def constraints() -> list[tuple[str, str]]:
    """Return (name, version) of each constraint that applies to this interpreter and system."""
    lines = (PROJECT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    parsed = [re.fullmatch(r"([a-z0-9.-]+)==(\S+)(?: ; (.+))?", line) for line in lines]
    assert all(parsed), "a line of constraints.txt is not 'name==version' with an optional marker"
    return [
        (name, pin) for name, pin, marker in (m.groups() for m in parsed) if not marker or Marker(marker).evaluate()
    ]


def installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:  # part of an extra that is not installed
        return None


def record(name: str) -> dict[str, str]:
    """Return {path: hash} of the installed files, without those generated at installation."""
    rows = csv.reader((distribution(name).read_text("RECORD") or "").splitlines())
    return {path: digest for path, digest, _ in rows if digest}


def test_installed_versions_match_the_constraints():
    assert len(constraints()) > 100
    wrong = {name: (installed(name), pin) for name, pin in constraints() if installed(name) not in {pin, None}}
    assert wrong == {}, "installed and required versions differ: run make .venv"


def test_each_requirement_of_the_project_is_constrained():
    requirements = distribution("bread-salt").requires or []
    names = {re.split(r"[^A-Za-z0-9.-]", requirement)[0].lower() for requirement in requirements}
    assert names <= {name for name, _ in constraints()}


def test_pyspark_and_pyspark_client_install_the_same_files():
    if installed("pyspark-client") is None:
        pytest.skip("the Airflow provider, which brings pyspark-client, is not installed")
    pyspark, client = record("pyspark"), record("pyspark-client")
    common = pyspark.keys() & client.keys()
    assert len(common) > 300
    assert [path for path in sorted(common) if pyspark[path] != client[path]] == []
