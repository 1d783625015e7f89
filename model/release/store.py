"""The store of promoted models: which one is current, and how that came about.

A folder with a copy of each promoted model under its version, `current`, a link to one of them, and `history.jsonl`.
Whoever scores is given STORE/current. Each change is one rename, so a kill at any moment leaves `current` on a whole
folder (but for a damaged copy of the current model, which is missing while it is replaced); what else it leaves, the
next change clears away.
"""

import datetime as dt
import fcntl
import json
import os
import pwd
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from model.cli import InputError
from model.release import checkpoint

CURRENT = "current"
HISTORY = "history.jsonl"

Action = Literal["promote", "rollback", "found"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """A line of the history."""

    changed_at: str
    """UTC, ISO 8601."""
    action: Action
    """`found`: `current` was not where the line before had put it, as that change was cut off or a person moved it."""
    version: str | None
    """Current from now on."""
    version_before: str | None
    comparison: dict[str, Any] | None = None
    """Of the two, where there was one; years, as in `model.promote.Comparison`."""
    reason: str | None = None
    """Why the comparison was overruled."""
    user: str
    """Of the operating system."""


@contextmanager
def locked(store: Path) -> Iterator[None]:
    """Let one change of the store happen at a time; the second waits, and finds what the first one left.

    Raises:
        InputError: the store does not exist or can't be written to.
    """
    if not store.is_dir():  # one made up from a misspelt path would take any model as its first
        raise InputError(f"store is {store}; it must be a folder that exists: make it once, empty")
    try:
        lock = (store / ".lock").open("a")
    except OSError as error:
        raise InputError(f"store is {store}; it must be a folder that this user can write to: {error}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"another program changes {store}: waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def current_version(store: Path) -> str | None:
    """Return what `current` names; None before the first promotion.

    Raises:
        InputError: somebody put something else there.
    """
    link = store / CURRENT
    if link.is_symlink() and len(link.readlink().parts) == 1:
        return str(link.readlink())
    if link.is_symlink() or link.exists():
        raise InputError(f"{link} is no link to a version beside it; remove it, then promote the model in use")
    return None


def sound_copy(store: Path, version: str) -> Path:
    """Return the store's folder of a version.

    Raises:
        InputError: it is missing or damaged.
    """
    folder = store / version
    if (found := checkpoint.version(folder)) != version:
        raise InputError(f"{folder} holds model {found}; restore the folder as it was promoted")
    return folder


def copy_in(store: Path, model: Path, version: str) -> bool:
    """Copy a model folder into the store in one step; returns False where a sound copy is there already."""
    try:
        sound_copy(store, version)
    except InputError:  # missing, or damaged and of no use to anybody
        draft = store / ".draft"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        draft.chmod(0o755)  # executors run as other users
        released = {checkpoint.CARD, *checkpoint.read_card(model)["sha256"]}
        for file in sorted(model.iterdir()):
            if file.name in released:
                shutil.copyfile(checkpoint.readable(file), draft / file.name)
                (draft / file.name).chmod(checkpoint.mode(file.name))
        if checkpoint.version(draft) != version:
            raise InputError(f"{model} changed while it was copied; promote it again") from None
        shutil.rmtree(store / version, ignore_errors=True)
        draft.rename(store / version)
        return True
    return False


def read_history(store: Path) -> list[Change]:
    """Return all changes, oldest first; the last one's version is current.

    Raises:
        InputError: a line is no change.
    """
    path, current = store / HISTORY, current_version(store)
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    changes = []
    for number, line in enumerate(lines, start=1):
        try:
            changes.append(Change(**json.loads(line)))
        except (TypeError, ValueError):
            raise InputError(f"{path} line {number} is no change; restore the file, or move it away") from None
    last = changes[-1].version if changes else None
    if current != last:
        changes.append(_change("found", current, last))
    return changes


def standing(changes: Sequence[Change]) -> list[str | None]:
    """Return the versions from None, before the first one, to the current one, without those that were undone."""
    versions: list[str | None] = [None]
    for change in changes:
        if change.action != "promote" and versions[-2:-1] == [change.version]:
            versions.pop()
        else:
            versions.append(change.version)
    return versions


def make_current(
    store: Path,
    version: str,
    action: Action,
    *,
    comparison: dict[str, Any] | None = None,
    reason: str | None = None,
) -> None:
    """Write the history, then move `current` to a version whose copy is in the store.

    In this order, because a reason must be on record when it takes effect. Where a kill comes in between, the next
    change finds `current` elsewhere and records that.
    """
    change = _change(action, version, current_version(store), comparison=comparison, reason=reason)
    lines = [json.dumps(asdict(line)) + "\n" for line in [*read_history(store), change]]
    (store / ".history").write_text("".join(lines), encoding="utf-8")
    (store / ".history").replace(store / HISTORY)
    link = store / ".current"
    link.unlink(missing_ok=True)
    link.symlink_to(version)
    link.replace(store / CURRENT)


def _change(action: Action, version: str | None, before: str | None, **facts: Any) -> Change:
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        user = str(os.getuid())
    now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    return Change(changed_at=now, action=action, version=version, version_before=before, user=user, **facts)
