"""The project's SQL: one statement per file, named by its path (`load("checks/counts_add_up")`).

A new check or question is a file here and a file of cases in tests/sql; tests/sql/test_statements.py states the rules.
"""

from importlib.resources import files


def names(folder: str) -> list[str]:
    """Return the names under one folder, sorted: `names("checks")` -> `["checks/counts_add_up", ...]`."""
    entries = (entry.name for entry in files(__name__).joinpath(folder).iterdir())
    return sorted(f"{folder}/{name.removesuffix('.sql')}" for name in entries if name.endswith(".sql"))


def load(name: str) -> str:
    """Return the text of `<name>.sql`.

    Raises:
        FileNotFoundError: there is no such statement; the message lists those of the same folder.
    """
    resource = files(__name__).joinpath(f"{name}.sql")
    if not resource.is_file():
        folder = name.rpartition("/")[0]
        known = names(folder) if files(__name__).joinpath(folder).is_dir() else []
        raise FileNotFoundError(f"no SQL statement named {name!r}; there are: {', '.join(known) or 'none'}")
    return resource.read_text(encoding="utf-8")
