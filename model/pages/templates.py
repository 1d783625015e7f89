"""The settings shared by all Jinja templates: HTML pages and the model card."""

from collections.abc import Callable
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def environment(folder: Path, **filters: Callable[..., object]) -> Environment:
    """Return an environment for the templates of a folder.

    A name that the program does not pass is an error. Values are escaped in HTML, not in Markdown.

    Args:
        folder: contains the templates, `NAME.html.jinja` or `NAME.md.jinja`.
        filters: functions by the names that the templates use.
    """
    loaded = Environment(
        loader=FileSystemLoader(folder),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    loaded.filters |= filters
    return loaded
