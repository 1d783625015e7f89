"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil
from types import ModuleType

import pytest

import jobs
import model


def modules_of(package: ModuleType) -> list[str]:
    return [entry.name for entry in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]


EXAMPLES = [
    example
    for name in [*modules_of(jobs), *modules_of(model)]
    for example in doctest.DocTestFinder(exclude_empty=True).find(importlib.import_module(name))
    if example.examples
]


def test_at_least_ten_functions_have_an_example():
    assert len(EXAMPLES) >= 10


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_an_example_prints_what_its_docstring_says(example):
    report = []
    doctest.DocTestRunner().run(example, out=report.append)
    assert report == []
