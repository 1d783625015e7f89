"""The examples in docstrings run and print what they say; those of the README can be copied."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path
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


def test_settings_in_the_readme_can_be_copied_into_a_properties_file():
    text = Path(__file__).parents[1].joinpath("README.md").read_text()
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    settings = [line for kind, block in blocks if kind == "properties" for line in block.splitlines()]
    assert len(settings) > 10
    # A `#` after a value is a part of the value, in Spark's properties files too.
    assert [line for line in settings if not re.fullmatch(r"#.*|spark[.\w]+ +[^#]+", line)] == []
    others = "".join(block for kind, block in blocks if kind != "properties")
    assert re.findall(r"^spark\..*", others, re.MULTILINE) == []
