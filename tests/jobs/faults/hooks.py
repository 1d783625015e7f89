"""Hook the functions of libraries that write, and Python's own file operations, for `points.Writes`."""

import functools
import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import deltalake
import deltalake.table
import pyarrow.dataset
import pyarrow.parquet
import pytest
from pyarrow import fs

from tests.jobs.faults.points import Writes

MODULES = (deltalake, deltalake.writer, pyarrow.dataset, pyarrow.parquet)
"""All public functions of these modules are hooked, wherever they were imported to."""
CLASSES = (
    deltalake.DeltaTable,
    deltalake.table.TableAlterer,
    deltalake.table.TableMerger,
    deltalake.table.TableOptimizer,
)
"""All public methods of these classes are hooked."""

_watching: list[Writes] = []


def audit(event: str, arguments: tuple[Any, ...]) -> None:
    """Pass a file operation of Python on; an audit hook can't be removed again."""
    if _watching:
        _watching[-1].audit(event, arguments)


def hooked(function: Callable[..., Any], name: str) -> Callable[..., Any]:
    """Return a function whose calls are counted while someone watches."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        if not _watching:
            return function(*args, **kwargs)
        return _watching[-1].call(name, function, args, kwargs)

    return call


def local_filesystem() -> type[fs.LocalFileSystem]:
    """Return Arrow's local file system with hooked methods; methods of a C class can't be replaced."""
    original = fs.LocalFileSystem
    methods = {
        name: hooked(method, f"filesystem.{name}")
        for name, method in inspect.getmembers(original, callable)
        if not name.startswith("_") and name not in ("from_uri", "equals", "normalize_path")
    }
    return type("LocalFileSystem", (original,), methods)


def install(patch: pytest.MonkeyPatch) -> None:
    """Hook all functions; `patch` can remove the hooks."""
    for module in MODULES:
        for name, function in list(vars(module).items()):
            if inspect.isfunction(function) and not name.startswith("_"):
                _replace_everywhere(patch, function, hooked(function, name))
    for of in CLASSES:
        for name, method in list(vars(of).items()):
            if name.startswith("_") or isinstance(method, property):
                continue
            if isinstance(method, classmethod | staticmethod):
                kind = type(method)
                patch.setattr(of, name, kind(hooked(method.__func__, f"{of.__name__}.{name}")))
            elif inspect.isfunction(method):
                patch.setattr(of, name, hooked(method, f"{of.__name__}.{name}"))
    patch.setattr(fs, "LocalFileSystem", local_filesystem())
    if not getattr(sys, "_bread_salt_audited", False):
        sys.addaudithook(audit)
        sys._bread_salt_audited = True


def _replace_everywhere(patch: pytest.MonkeyPatch, old: object, new: object) -> None:
    for module in list(sys.modules.values()):
        if isinstance(module, ModuleType):
            for name, value in list(vars(module).items()):
                if value is old:
                    patch.setattr(module, name, new)


@contextmanager
def watched(writes: Writes) -> Iterator[Writes]:
    """Pass all calls to `writes`; the hooks must be installed."""
    _watching.append(writes)
    try:
        yield writes
    finally:
        _watching.pop()
