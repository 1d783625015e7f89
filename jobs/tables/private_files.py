"""Files about persons, which only their owner can read."""

import os
from pathlib import Path

from model.cli import InputError


def write_private(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a text file that only its owner can read, whatever the umask; readers see the whole file or none.

    Raises:
        InputError: the file exists and must not be overwritten, or it can't be written. The message begins with --out.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with open(descriptor, "w", encoding="utf-8", newline="") as file:  # noqa: PTH123 - has no mode
            file.write(text)
        if overwrite:
            draft.replace(path)
        else:
            path.hardlink_to(draft)  # fails if the file exists, unlike a rename
    except FileExistsError:
        raise InputError(f"--out {path} exists; it is not overwritten") from None
    except OSError as error:
        raise InputError(f"--out {path} can't be written: {error}") from None
    finally:
        draft.unlink(missing_ok=True)
