"""Run a job with a fault, check what readers and later jobs see, and run it again."""

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from jobs.tables.duck import connect
from jobs.tables.windows import read_versions, stale_dates
from tests.jobs.faults import hooks, states
from tests.jobs.faults.points import KILLS, Fault, Killed, Point, Writes
from tests.jobs.faults.states import REPORTS, Rows, differing, rows_of

MIN_FAULTS = 12
"""Of each job, in the tests that run every time."""


@dataclass(kw_only=True)
class Trial:
    """A job, and a warehouse in which it finds rows of an earlier run with other input."""

    name: str
    start: Path
    """Warehouse before the run; never changed."""
    warehouse: Path
    """Where the job runs: a copy."""
    run: Callable[[], object]
    """The job; it writes to `warehouse`."""
    job: str | None = None
    """Its name in `NEEDS`, if it reports there."""
    date: dt.date
    points: list[Point] = field(default_factory=list)
    """The writes of a clean run."""
    before: Rows = field(default_factory=dict)
    clean: Rows = field(default_factory=dict)

    def count(self) -> "Trial":
        """Run the job without a fault: find its writes and the rows that it leaves."""
        self.restore()
        self.before = rows_of(self.warehouse)
        writes = Writes(self.warehouse)
        with hooks.watched(writes):
            self.run()
        self.points = writes.points()
        self.clean = rows_of(self.warehouse)
        return self

    def restore(self) -> None:
        """Bring the warehouse back to the state before the run."""
        shutil.rmtree(self.warehouse, ignore_errors=True)
        shutil.copytree(self.start, self.warehouse)

    def fail(self, fault: Fault) -> BaseException | None:
        """Run the job with a fault, and return the error with which it ended."""
        writes = Writes(self.warehouse, fault)
        error: BaseException | None = None
        with hooks.watched(writes):
            try:
                self.run()
            except (Killed, Exception) as raised:  # noqa: BLE001 - the errors of all libraries
                error = raised
        assert writes.has_happened, f"{fault.point} is not a write of this run"
        assert isinstance(error, Killed) == (fault.kind in KILLS), error
        return error

    def check(self, fault: Fault) -> None:
        """Run the job with a fault and check what it leaves; run it again and check that it leaves a clean run's rows."""
        self.restore()
        error = self.fail(fault)
        now = rows_of(self.warehouse)
        if error is None:
            assert differing(now, self.clean) == set(), "the job ended without an error"
        self.check_state(now)
        self.run()
        assert differing(rows_of(self.warehouse), self.clean) == set(), "after the second run"
        states.leftovers(self.warehouse)

    def check_state(self, now: Rows) -> None:
        """Check what readers and later jobs see."""
        states.check_readers(self.before, now, self.clean)
        if self.job:
            states.check_reports(self.job, self.date, self.before, now, self.clean)
            states.check_dependants(self.job, self.date, self.warehouse, now)
        if differing(now, self.before) and differing(now, self.clean):
            self.check_stale(now)

    def check_stale(self, now: Rows) -> None:
        """Check that `rebuild_windows` takes a half-done date for one to be done."""
        if any(key[0] == REPORTS and key[2] == "count_purchases" for key in now):
            with connect(str(self.warehouse), restricted=True) as connection:
                versions = read_versions(connection)
            counted = versions.get(self.date)
            assert counted is None or not counted.counts_hash or self.date in stale_dates(versions)


def faults(points: Sequence[Point], *, everything: bool) -> list[Fault]:
    """Return the faults to try: all, or one at each point, their kinds in rotation, and at least `MIN_FAULTS`."""
    if everything:
        return [Fault(point.name, kind) for point in points for kind in point.kinds]
    return list(islice(_rotated(points), max(MIN_FAULTS, len(points))))


def _rotated(points: Sequence[Point]) -> Iterable[Fault]:
    for turn in range(max(len(point.kinds) for point in points)):
        for number, point in enumerate(points):
            # 3 and 7 kinds have no common divisor, so neighbours have different kinds in each turn.
            if turn < len(point.kinds):
                yield Fault(point.name, point.kinds[(3 * number + turn) % len(point.kinds)])


def check_all(trial: Trial, chosen: Iterable[Fault]) -> str:
    """Check each fault; return a table of the results.

    Raises:
        AssertionError: with all faults that failed.
    """
    lines, failed = [f"{trial.name}: {len(trial.points)} writes"], []
    started = time.process_time()
    for fault in chosen:
        result = "equal"
        try:
            trial.check(fault)
        except Exception as error:  # noqa: BLE001 - one failure must not hide the others
            result = f"{type(error).__name__}: {error}"
            failed.append(f"{fault.kind} at {fault.point}: {result}")
        lines.append(f"{fault.point}\t{fault.kind}\t{result}")
    lines.append(f"{trial.name}: {len(lines) - 1} faults, {time.process_time() - started:.0f} s of CPU")
    assert not failed, "\n".join([f"{len(failed)} of {len(lines) - 2} faults of {trial.name}:", *failed])
    return "\n".join(lines)
