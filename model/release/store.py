"""The store of promoted models: which one is current, and the history of changes.

A store is a folder. It contains a copy of each promoted model under its version, `current` (a link to one of them), and
`history.jsonl`. The nightly run scores with STORE/current.

Each change is one rename. If a program is killed at any moment, `current` still names a complete folder (except a
damaged copy of the current model, which is missing while it is replaced). The next change removes leftover files.
"""

import datetime as dt
import fcntl
import json
import os
import pwd
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from model.cli import InputError
from model.release import checkpoint

CURRENT = "current"
HISTORY = "history.jsonl"

Action = Literal["promote", "external"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line of the history."""

    changed_at: str
    """UTC, ISO 8601."""
    action: Action
    """`external`: `current` differs from the line before, because that change was interrupted or the link was changed
    by hand."""
    version: str | None
    """Current version after the change."""
    version_before: str | None
    comparison: dict[str, Any] | None = None
    """Comparison of the two models, as `model.promote.Comparison`; None where they were not compared."""
    reason: str | None = None
    """Reason given with --force."""
    user: str
    """User of the operating system."""


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Lock the store for one change. A second program waits, and then sees the result of the first one.

    Raises:
        InputError: the store does not exist or can't be written to.
    """
    if not store.is_dir():  # a store created from a misspelt path would accept any model as its first
        raise InputError(f"store is {store}; it must be an existing folder: create it once, empty")
    try:
        lock = (store / ".lock").open("a")
    except OSError as error:
        raise InputError(f"store is {store}; it must be a folder that this user can write to: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another program is changing {store}: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def current_version(store: Path) -> str | None:
    """Return the version that `current` links to; None before the first promotion.

    Raises:
        InputError: `current` is not a link to a folder beside it.
    """
    link = store / CURRENT
    if link.is_symlink() and len(link.readlink().parts) == 1:
        return str(link.readlink())
    if link.is_symlink() or link.exists():
        raise InputError(f"{link} is not a link to a version beside it; remove it, then promote the model in use")
    return None


def verified_copy(store: Path, version: str) -> Path:
    """Return the store's folder of a version, after checking its files.

    Raises:
        InputError: it is missing or damaged.
    """
    folder = store / version
    if (actual := checkpoint.version(folder)) != version:
        raise InputError(f"{folder} contains model {actual}; restore the folder as it was promoted")
    return folder


def copy_in(store: Path, model: Path, version: str) -> bool:
    """Copy a model folder into the store atomically; returns False if a verified copy is there already."""
    try:
        verified_copy(store, version)
    except InputError:  # missing or damaged
        draft = store / ".draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        draft.chmod(0o755)  # executors run as other users
        released = {checkpoint.MODEL_JSON, *checkpoint.read_model_json(model)["sha256"]}
        for file in sorted(model.iterdir()):
            if file.name in released:
                shutil.copyfile(checkpoint.readable(file), draft / file.name)
                (draft / file.name).chmod(checkpoint.mode(file.name))
        if checkpoint.version(draft) != version:
            raise InputError(f"{model} was changed while it was copied; promote it again") from None
        shutil.rmtree(store / version, ignore_errors=True)
        draft.rename(store / version)
        return True
    return False


def read_history(store: Path) -> list[Change]:
    """Return all changes, oldest first. The version of the last one is the current one.

    Raises:
        InputError: a line is not a change.
    """
    path, current = store / HISTORY, current_version(store)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    changes = []
    for number, line in enumerate(lines, start=1):
        try:
            changes.append(Change(**json.loads(line)))
        except (TypeError, ValueError):
            raise InputError(f"{path} line {number} is not a change; restore the file, or move it away") from None
    last = changes[-1].version if changes else None
    if current != last:
        changes.append(_change("external", current, last))
    return changes


def make_current(
    store: Path, version: str, *, comparison: dict[str, Any] | None = None, reason: str | None = None
) -> None:
    """Write the history, then link `current` to a version whose copy is in the store.

    In this order, so that a change is recorded before it takes effect. If the program is killed in between, the next
    change records that `current` differs.
    """
    change = _change("promote", version, current_version(store), comparison=comparison, reason=reason)
    lines = [json.dumps(asdict(line)) + "\n" for line in [*read_history(store), change]]
    (store / ".history").write_text("".join(lines), encoding="utf-8")
    (store / ".history").replace(store / HISTORY)
    link = store / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(version)
    link.replace(store / CURRENT)


def _change(action: Action, version: str | None, version_before: str | None, **facts: Any) -> Change:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # the user of a container may have no name
        user = str(os.getuid())
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return Change(changed_at=now, action=action, version=version, version_before=version_before, user=user, **facts)
