"""Count the writes of a job below a folder, and let it fail, or die, at one of them.

A write is found by what it does, not by a list of the writes of our code: every public function of the libraries that
write is hooked (see `hooks.py`), and every operation of Python itself that changes a file. A call that changes
something below the folder is a point. `Writes.points` raises an error if something changed between two calls: then a
library writes that has no hook.
"""

import errno
import os
import re
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import deltalake
from deltalake.exceptions import CommitFailedError

LOG = "/_delta_log/"

KILLED_BEFORE, KILLED_HALF_WAY, KILLED_AFTER = "killed before", "killed half-way", "killed after"
IO_ERROR, FULL_DISK = "I/O error", "full disk"
REFUSED, REPORTED_FAILED = "refused commit", "written but reported failed"

KILLS = (KILLED_BEFORE, KILLED_HALF_WAY, KILLED_AFTER)
OF_PYTHON = (KILLED_BEFORE, IO_ERROR, FULL_DISK)  # after it is before the next point
OF_LIBRARIES = (*KILLS, IO_ERROR, FULL_DISK, REPORTED_FAILED)
OF_COMMITS = (*OF_LIBRARIES, REFUSED)

CHANGES = {
    "open": (0,), "os.mkdir": (0,), "os.remove": (0,), "os.rmdir": (0,), "os.rename": (0, 1), "os.link": (0, 1),
    "os.symlink": (1,), "os.chmod": (0,), "os.chown": (0,), "os.truncate": (0,), "os.utime": (0,),
}  # fmt: skip
"""Audit events of Python's file operations, with the positions of their paths."""
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class Killed(BaseException):
    """A simulated SIGKILL. No write follows it, so that no `finally` of the job cleans up."""


class Point(NamedTuple):
    """A write of a job."""

    name: str
    """Function, what it writes, and which call of the run it is, for example `write_deltalake analytics/age_bands 1`;
    calls that only read are counted too."""
    kinds: tuple[str, ...]
    """The faults that can happen here."""


class Fault(NamedTuple):
    """What happens at one point of a run."""

    point: str
    kind: str


class UncountedWriteError(AssertionError):
    """Something has changed that no hooked call has written."""


State = dict[str, tuple[int, ...]]


def state_of(root: str) -> State:
    """Return all files and folders below `root` with size, time of change, inode and mode; no size of a folder."""
    found: State = {}
    folders = [root]
    while folders:
        try:
            entries = list(os.scandir(folders.pop()))
        except FileNotFoundError:
            continue
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            is_folder = entry.is_dir(follow_symlinks=False)
            folders += [entry.path] if is_folder else []
            content = () if is_folder else (status.st_size, status.st_mtime_ns)
            found[entry.path] = (status.st_ino, status.st_mode, *content)
    return found


def contents_of(root: str) -> dict[str, bytes]:
    """Return all files below `root` with their bytes."""
    return {str(path): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def tear(before: dict[str, bytes], root: str) -> None:
    """Turn a completed write into one that ended in the middle.

    - A Delta commit: its data files are there, its log entry is a temporary file. A vacuum has its first entry, and
      half of the files that it deletes.
    - Other files: half of them are there, each with half of its bytes, and half of the deleted files are deleted.
    """
    after = contents_of(root)
    new, gone = sorted(after.keys() - before.keys()), sorted(before.keys() - after.keys())
    entries = [path for path in new if LOG in path]
    commits = [path for path in entries if path.endswith(".json")]
    kept = commits[:1] if any(LOG not in path for path in gone) else []
    for path in entries:
        if path not in kept:
            Path(path).unlink()
            Path(f"{path}#1").write_bytes(after[path][: len(after[path]) // 2])  # object_store's temporary name
    if not commits:
        for number, path in enumerate(path for path in new if LOG not in path):
            if number % 2:
                Path(path).unlink()
            else:
                os.truncate(path, len(after[path]) // 2)
    changed = [path for path in before.keys() & after.keys() if before[path] != after[path]]
    for path in [*gone[::2], *(path for path in gone if LOG in path), *changed]:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_bytes(before[path])


class Writes:
    """The writes below a folder during one run of a job.

    Without a fault, `points` are counted; with a fault, it happens at its point.
    """

    def __init__(self, root: Path, fault: Fault | None = None, *, real: bool = False) -> None:
        """Start to count.

        Args:
            root: folder, mostly the warehouse.
            fault: what happens, and where.
            real: a kill is a SIGKILL of this process; otherwise it is simulated by `Killed`.
        """
        self.root, self.fault, self._real = str(root.resolve()), fault, real
        self.has_happened = False
        self._calls, self._inside, self._is_dead = Counter[str](), False, False
        self._points: list[Point] = []
        self._open: dict[str, Point] = {}  # files that are open for writing: their content changes later
        self._last = {} if fault else state_of(self.root)

    def points(self) -> list[Point]:
        """Return the writes of the run that has ended.

        Raises:
            UncountedWriteError: the run changed something that no hooked call has written.
        """
        self._attribute(state_of(self.root))
        return self._points

    def call(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run a hooked function of a library."""
        target = None if self._inside else self._target([*args, *kwargs.values()])
        if target is None:
            return function(*args, **kwargs)
        self._stop_if_dead()
        name = self._next(f"{name} {target}".strip())
        self._inside = True
        try:
            if self.fault is None:
                return self._count(name, lambda: function(*args, **kwargs))
            if self.fault.point == name:
                return self._fail(self.fault.kind, lambda: function(*args, **kwargs))
            return function(*args, **kwargs)
        finally:
            self._inside = False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """See a file operation of Python before it happens."""
        if self._inside or event not in CHANGES or (event == "open" and not (arguments[2] or 0) & WRITING):
            return
        folder = None if event in ("open", "os.truncate") else arguments[-1]
        paths = [self._path(arguments[position], folder) for position in CHANGES[event]]
        targets = [path for path in paths if path is not None and self._is_below(path)]
        if not targets:
            return
        self._stop_if_dead()
        name = self._next(f"{event} {self._label(targets[0])}")
        self._inside = True
        try:
            if self.fault is None:
                self._attribute(state_of(self.root))
                point = Point(name, OF_PYTHON)
                self._points.append(point)
                self._open |= dict.fromkeys(targets, point)
            elif self.fault.point == name:
                self._fail(self.fault.kind, lambda: None)
        finally:
            self._inside = False

    def _next(self, name: str) -> str:
        self._calls[name] += 1
        return f"{name} {self._calls[name]}"

    def _count(self, name: str, function: Callable[[], Any]) -> Any:
        before = state_of(self.root)
        self._attribute(before)
        try:
            return function()
        finally:
            after = state_of(self.root)
            if after != before:
                has_commit = any(LOG in path and path.endswith(".json") for path in after.keys() - before.keys())
                self._points.append(Point(name, OF_COMMITS if has_commit else OF_LIBRARIES))
                if "open_output_stream" in name or "open_append_stream" in name:
                    self._open |= dict.fromkeys(after.keys() - before.keys(), self._points[-1])
            self._last = after

    def _attribute(self, now: State) -> None:
        changed = {path for path in now.keys() | self._last.keys() if now.get(path) != self._last.get(path)}
        uncounted = sorted(self._label(path) for path in changed if not self._is_open(path))
        self._last = now
        if uncounted:
            after = self._points[-1].name if self._points else "the start"
            raise UncountedWriteError(f"after {after}, no hooked call has written: {', '.join(uncounted)}")

    def _is_open(self, path: str) -> bool:
        return any(path == opened or path.startswith(f"{opened}/") for opened in self._open)

    def _fail(self, kind: str, function: Callable[[], Any]) -> Any:
        self.has_happened = True
        if kind == KILLED_BEFORE:
            self._kill()
        if kind == IO_ERROR:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        before = contents_of(self.root) if kind in (KILLED_HALF_WAY, FULL_DISK, REFUSED) else {}
        function()
        if before:
            tear(before, self.root)
        if kind in KILLS:
            self._kill()
        if kind == FULL_DISK:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind == REFUSED:
            raise CommitFailedError("the store refused the commit")
        raise OSError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))

    def _kill(self) -> None:
        if self._real:
            os.kill(os.getpid(), signal.SIGKILL)
        self._is_dead = True
        raise Killed

    def _stop_if_dead(self) -> None:
        if self._is_dead:
            raise Killed

    def _target(self, values: list[Any]) -> str | None:
        """Return what a call is about, below the root, or None if it is about something else."""
        texts = [str(value) for value in values if isinstance(value, str | Path)]
        texts += [value.table_uri for value in values if isinstance(value, deltalake.DeltaTable)]
        paths = [text.removeprefix("file://").rstrip("/") for text in texts if text.startswith(("/", "file:/"))]
        below = [path for path in paths if self._is_below(path)]
        return self._label(below[0]) if below else None if paths else ""

    def _is_below(self, path: str) -> bool:
        return f"{path}/".startswith(f"{self.root}/")

    def _label(self, path: str) -> str:
        # Random parts of names: a run must give each point the name that it has in other runs.
        return re.sub(r"(-\d{10})?-[0-9a-f]{32}", "-*", path.removeprefix(self.root).lstrip("/")) or "."

    def _path(self, path: Any, folder: Any) -> str | None:
        if path is None or (isinstance(path, int) and path < 0):
            return None
        if isinstance(path, int):
            return str(Path(f"/proc/self/fd/{path}").readlink())
        text = os.fsdecode(path)
        if os.path.isabs(text):  # noqa: PTH117 - a Path would be made for each event
            return text
        is_open = isinstance(folder, int) and folder >= 0  # the folder of the path, as a descriptor
        return f"{Path(f'/proc/self/fd/{folder}').readlink() if is_open else Path.cwd()}/{text}"
