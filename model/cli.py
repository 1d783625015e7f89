"""How every program of this project reads its flags and reports what the user can mend."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

Settings = TypeVar("Settings")


class InputError(Exception):
    """Wrong configuration or input that only a person can mend: one readable line, exit code 2, no traceback.

    The text names the setting or table, the value found, and what would be right. No ValueError, because the
    parser of flags takes those for its own and prints a box around them.
    """


def run(main: Callable[[Settings], None], settings: type[Settings]) -> NoReturn:
    """Parse the command line into `settings`, call `main` with it and exit.

    Exits with 0 when `main` returns and with 2 on a bad flag or an `InputError`; anything else is a defect
    and keeps its traceback.
    """
    import tyro  # noqa: PLC0415  scoring machines import InputError, and need no command line

    module = sys.modules[main.__module__]
    try:
        main(tyro.cli(settings, description=module.__doc__))
        sys.stdout.flush()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:  # whoever read the output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)
