"""Imports between the folders, and the files of the project."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]
OURS = {"dags", "jobs", "model", "sql", "tests"}
HEAVY = {"airflow", "deltalake", "duckdb", "numpy", "pandas", "pyarrow", "pyspark", "torch", "torchvision"}

FORBIDDEN = {
    "jobs": {"airflow", "dags", "tests"},
    "model": {"airflow", "dags", "deltalake", "jobs", "pyspark", "sql", "tests"},
    "sql": OURS | HEAVY,
}
TOP_LEVEL = {
    "dags", "jobs", "model", "sql", "tests",
    "README.md", "CHANGELOG.md", "LICENSE", "Makefile", "pyproject.toml", "constraints.txt",
    ".gitignore", ".ci",
}  # fmt: skip


def tracked() -> list[Path]:
    """Return the tracked files and new files that are not ignored."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [Path(line) for line in listed.stdout.splitlines() if (PROJECT / line).is_file()]


def imports(source: str) -> set[str]:
    """Return the dotted names that a file imports: `from a.b import c` gives `a.b` and `a.b.c`."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_of(folder: str) -> dict[str, set[str]]:
    files = [path for path in tracked() if path.parts[0] == folder and path.suffix == ".py"]
    assert files, f"{folder}/ has no Python file"
    return {str(path): imports((PROJECT / path).read_text(encoding="utf-8")) for path in files}


def test_dags_import_only_airflow_and_bread_salt():
    files = {path: names for path, names in imports_of("dags").items() if path != "dags/bread_salt.py"}
    packages = {name.partition(".")[0] for names in files.values() for name in names}
    assert packages - sys.stdlib_module_names == {"airflow", "bread_salt"}
    shared = {name.partition(".")[0] for name in imports_of("dags")["dags/bread_salt.py"]}
    assert shared - sys.stdlib_module_names == {"airflow"}


@pytest.mark.parametrize("folder", sorted(FORBIDDEN))
def test_a_folder_imports_no_forbidden_package(folder):
    wrong = {
        (path, name)
        for path, names in imports_of(folder).items()
        for name in names
        if name.partition(".")[0] in FORBIDDEN[folder]
    }
    assert wrong == set()


def test_jobs_import_only_the_modules_for_them_from_the_model():
    wrong = {
        (path, name)
        for path, names in imports_of("jobs").items()
        for name in names
        if name.startswith("model.") and name.split(".")[1] not in {"age_errors", "cli", "kernel", "predict"}
    }
    assert wrong == set()


RUNS_OTHERS = {"jobs/nightly.py", "jobs/rebuild_windows.py", "jobs/erase.py", "jobs/demo.py"}
"""Programs that import and run other programs."""


@pytest.mark.parametrize("folder", ["jobs", "model"])
def test_only_programs_that_run_others_import_programs(folder):
    files = imports_of(folder)
    programs = {path for path in files if path.count("/") == 1 and has_main(path)}
    names = {path.removesuffix(".py").replace("/", ".") for path in programs}
    wrong = {(path, name) for path in files.keys() - RUNS_OTHERS for name in files[path] & names}
    assert wrong == set()
    assert programs
    assert {path for path in RUNS_OTHERS if path.startswith(folder)} <= programs


ROOMS = {
    "jobs/tables": {"jobs.tables", "model.cli", "sql"},
    "jobs/stats": {"jobs.stats"},
    "jobs/sample": {"jobs.sample", "jobs.tables.bands", "jobs.tables.schemas", "model.cli"},
    "model/photos": {"model.photos", "model.config", "model.cli"},
    "model/study": {"model.study", "model.evaluation", "model.config", "model.photos", "model.pages", "model.cli"},
    "model/pages": {"model.pages", "model.photos", "model.cli"},
}
"""What a room may import of ours."""


@pytest.mark.parametrize("room", sorted(ROOMS))
def test_a_room_imports_only_the_rooms_it_may(room):
    files = {path: names for path, names in imports_of(room.partition("/")[0]).items() if path.startswith(f"{room}/")}
    assert files
    wrong = {
        (path, name)
        for path, names in files.items()
        for name in names
        # `from a.b import c` has the names a.b and a.b.c, so a.b is allowed where a.b.c is.
        if name.partition(".")[0] in OURS
        and not any(is_within(name, allowed) or is_within(allowed, name) for allowed in ROOMS[room])
    }
    assert wrong == set()


PACKAGES = {"jobs/stats": {"numpy", "scipy"}}
"""The packages of others that a room may import, beside the standard library."""


@pytest.mark.parametrize("room", sorted(PACKAGES))
def test_a_room_imports_only_the_packages_it_may(room):
    files = {path: names for path, names in imports_of(room.partition("/")[0]).items() if path.startswith(f"{room}/")}
    packages = {name.partition(".")[0] for names in files.values() for name in names}
    assert packages - sys.stdlib_module_names - OURS == PACKAGES[room]


def is_within(name: str, package: str) -> bool:
    return f"{name}.".startswith(f"{package}.")


def has_main(path: str) -> bool:
    return '__name__ == "__main__"' in (PROJECT / path).read_text(encoding="utf-8")


def test_the_top_level_has_only_expected_entries():
    assert {path.parts[0] for path in tracked()} <= TOP_LEVEL


def test_every_python_file_has_fewer_than_300_lines():
    lines = {
        path: len((PROJECT / path).read_text(encoding="utf-8").splitlines())
        for path in tracked()
        if path.suffix == ".py"
    }
    assert {str(path): n for path, n in lines.items() if n >= 300} == {}


def test_no_file_contains_a_machine_specific_path():
    # The brackets prevent a match in this file.
    machine_path = re.compile(
        r"(?<![\w.*-])/(?:work|farm|opt|home|root|Users)/|[.]{2}/(?:shared)|https?://\S+(?:[.]whl|[.]jar|/(?:simple))"
    )
    wrong = []
    for path in tracked():
        try:
            text = (PROJECT / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        wrong += [f"{path}:{n}: {line}" for n, line in enumerate(text.splitlines(), 1) if machine_path.search(line)]
    assert wrong == []
