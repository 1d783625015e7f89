"""Files about persons: who can read them does not depend on the umask."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from model.cli import InputError

OTHERS = 0o007
"""Permissions of users who are neither the owner nor in the group."""

SCRATCH = "bread_salt_scratch_"
"""Begin of the names of scratch folders in the folder of temporary files."""
SCRATCH_MAX_AGE_HOURS = 24
"""No job runs that long."""


@contextmanager
def closed_to_others() -> Iterator[None]:
    """Create files and folders that other users can't open, also those that the Delta writer creates.

    The umask decides what the group may do, so that a chain can give its auditors access by the group.
    """
    umask = os.umask(0o777)
    os.umask(umask | OTHERS)
    try:
        yield
    finally:
        os.umask(umask)


def close_to_others(path: Path) -> bool:
    """Take the permissions of other users from a file or folder; return whether they had some.

    Raises:
        PermissionError: another user owns it.
    """
    mode = path.lstat().st_mode
    if path.is_symlink() or not mode & OTHERS:
        return False
    path.chmod(mode & 0o7777 & ~OTHERS)
    return True


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder that is closed to other users, and removed at the end: also at that of a killed process.

    It may contain rows of the restricted zone. Airflow kills a task five seconds after SIGTERM, and a statement of
    DuckDB took a minute to stop. Folders that a crash of the machine has left are removed when they are a day old.
    """
    _remove_abandoned()
    folder = tempfile.mkdtemp(prefix=SCRATCH)
    # `read` waits until this process has ended or closes the pipe. In another session, signals to our group spare it;
    # systemd and containers send SIGTERM to each process.
    command = ["/bin/sh", "-c", 'trap "" TERM INT HUP; read _; rm -rf "$1"', "sh", folder]
    environment = {"PATH": os.defpath}  # ours may have no rm
    with subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True, env=environment):  # noqa: S603
        yield Path(folder)


def _remove_abandoned() -> None:
    before = time.time() - SCRATCH_MAX_AGE_HOURS * 3600
    for folder in Path(tempfile.gettempdir()).glob(f"{SCRATCH}*"):
        with suppress(FileNotFoundError):  # another job removes it too
            info = folder.lstat()
            if info.st_uid == os.getuid() and info.st_mtime <= before:
                shutil.rmtree(folder, ignore_errors=True)


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
