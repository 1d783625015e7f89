"""How every program of this project reads its flags and reports wrong input."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn, TypeVar

Settings = TypeVar("Settings")


class InputError(Exception):
    """Wrong input or configuration. The program prints one readable line and exits with code 2, without a traceback.

    The text names the setting or table, its value, and what would be right. This is not a ValueError: tyro, the
    parser of flags, catches those and prints a box around them.
    """


TRY_AGAIN = 75
"""Exit code EX_TEMPFAIL."""


class TryAgainError(Exception):
    """A temporary fault: the same command is likely to succeed later. The program exits with code 75 (EX_TEMPFAIL).

    Examples: another writer replaced the same date, a file was removed while it was read, the storage did not answer.
    """


def run(main: Callable[[Settings], None], settings: type[Settings], default: Settings | None = None) -> NoReturn:
    """Parse the command line into `settings`, call `main` with it and exit.

    Exit code 0: `main` returned. Exit code 2: a wrong flag, or an `InputError`. Exit code 75: a `TryAgainError`. Any
    other exception is a defect and keeps its traceback.

    Args:
        main: the program.
        settings: dataclass whose fields are the flags.
        default: values of the flags that are not given, where they are not the defaults of the fields.
    """
    import tyro  # noqa: PLC0415  machines that only score import InputError, and need no parser of flags

    module = sys.modules[main.__module__]
    try:
        unset = tyro.MISSING_NONPROP if default is None else default
        main(tyro.cli(settings, description=module.__doc__, default=unset))
        sys.stdout.flush()
    except (InputError, TryAgainError) as error:
        print(f"error: {on_one_line(str(error))}", file=sys.stderr)
        sys.exit(TRY_AGAIN if isinstance(error, TryAgainError) else 2)
    except BrokenPipeError:  # the reader of the output, such as `head`, has closed it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def short(error: Exception) -> str:
    r"""Return the first two lines of an error as one, cut at 300 characters: torch states its reason in the second.

    >>> short(RuntimeError("Error in loading:\n\tMissing key: a\n\tMissing key: b")), short(EOFError())
    ('Error in loading: Missing key: a', 'EOFError')
    """
    lines = str(error).splitlines()[:2]
    return " ".join(line.strip() for line in lines)[:300] or type(error).__name__


def on_one_line(text: str) -> str:
    r"""Return a text with every control character written as an escape: a file name may contain any.

    >>> print(on_one_line("part\n1.parquet"))
    part\n1.parquet
    """
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
