"""Run a job with a fault, check what readers and later jobs see, and run it again."""

import datetime as dt
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import duckdb

from jobs.tables.duck import register_tables
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import read_versions, stale_dates
from tests.jobs.faults import hooks, states
from tests.jobs.faults.points import KILLS, Fault, Killed, Point, Writes
from tests.jobs.faults.states import REPORTS, Rows, differing, rows_of

REBUILT = ("build_affinity", "screen_cashiers", "rebuild_windows")
"""What `rebuild_windows` does again if it was interrupted."""

N_FAULTS = 12
"""Of each job, in the tests that run every time; `make test-faults` tries all."""


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
    check_more: Callable[[Rows], None] = lambda _: None
    """Checks the rows after a fault."""
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

    def check(self, fault: Fault) -> None:
        """Run the job with a fault and check what it leaves; run it again and compare with a clean run."""
        self.restore()
        self.check_fault(fault)
        self.check_end()

    def check_in_a_row(self, fault: Fault) -> None:
        """Run the job with a fault on what an earlier fault has left, and check what it leaves."""
        if not self.check_fault(fault):
            self.restore()
            assert self.check_fault(fault), f"{fault.point} is not a write of this run"

    def check_fault(self, fault: Fault) -> bool:
        """Run the job with a fault and check what it leaves; return whether the fault has happened."""
        writes = Writes(self.warehouse, fault)
        error: BaseException | None = None
        with hooks.watched(writes):
            try:
                self.run()
            except (Killed, Exception) as raised:  # noqa: BLE001 - the errors of all libraries
                error = raised
        now = rows_of(self.warehouse)
        if writes.has_happened:
            assert isinstance(error, Killed) == (fault.kind in KILLS), repr(error)
        elif error:
            raise error
        if error is None:
            assert differing(now, self.clean) == set(), "the job ended without an error"
        self.check_state(now)
        return writes.has_happened

    def check_end(self) -> None:
        """Run the job, and check that it leaves the rows of a clean run, and files only that housekeeping knows."""
        self.run()
        assert differing(rows_of(self.warehouse), self.clean) == set(), "after the second run"
        states.leftovers(self.warehouse)

    def check_state(self, now: Rows) -> None:
        """Check what readers and later jobs see."""
        states.check_readers(self.before, now, self.clean)
        if self.job:
            states.check_reports(self.job, self.date, self.before, now, self.clean)
            states.check_dependants(self.job, self.date, self.warehouse, now)
        if self.name in REBUILT and differing(now, self.before) and differing(now, self.clean):
            self.check_stale()
        self.check_more(now)

    def check_stale(self) -> None:
        """Check that `rebuild_windows` takes a half-done date for one to be done."""
        reports = Warehouse(str(self.warehouse)).rows(REPORTS)
        with duckdb.connect() as connection:
            register_tables(connection, {REPORTS: reports})
            versions = read_versions(connection)
        if self.date in versions and versions[self.date].counts_hash:
            assert self.date in stale_dates(versions)


def faults(points: Sequence[Point], *, everything: bool) -> list[Fault]:
    """Return the faults to try, in the order of the writes.

    Args:
        points: the writes of a job.
        everything: each kind at each point. Otherwise `N_FAULTS`, spread over the points, the kinds in rotation.
    """
    if everything:
        return [Fault(point.name, kind) for point in points for kind in point.kinds]
    n = min(len(points), N_FAULTS)
    chosen = [points[number * (len(points) - 1) // max(n - 1, 1)] for number in range(n)]
    order = [point.name for point in points]
    return sorted(islice(_rotated(chosen), N_FAULTS), key=lambda fault: order.index(fault.point))


def _rotated(points: Sequence[Point]) -> Iterable[Fault]:
    for turn in range(max(len(point.kinds) for point in points)):
        for number, point in enumerate(points):
            # 3 and 7 kinds have no common divisor, so neighbours have different kinds in each turn.
            if turn < len(point.kinds):
                yield Fault(point.name, point.kinds[(3 * number + turn) % len(point.kinds)])


def check_all(trial: Trial, *, everything: bool) -> str:
    """Check faults of a trial and return a table of the results.

    Args:
        trial: counted.
        everything: each kind at each point, each on the warehouse before the run, each followed by a run without a
            fault. Otherwise the faults follow each other, and one run without a fault follows the last of them.

    Raises:
        AssertionError: with all faults that failed.
    """
    lines, failed = [f"{trial.name}: {len(trial.points)} writes"], []
    chosen = faults(trial.points, everything=everything)
    assert len(chosen) >= min(N_FAULTS, sum(len(point.kinds) for point in trial.points))
    started = time.process_time()
    trial.restore()
    for fault in chosen:
        result = "equal"
        try:
            (trial.check if everything else trial.check_in_a_row)(fault)
        except Exception as error:  # noqa: BLE001 - one failure must not hide the others
            result = f"{type(error).__name__}: {error}"
            failed.append(f"{fault.kind} at {fault.point}: {result}")
            trial.restore()
        lines.append(f"{fault.point}\t{fault.kind}\t{result}")
    assert not failed, "\n".join([f"{len(failed)} of {len(lines) - 1} faults of {trial.name}:", *failed])
    trial.check_end()
    lines.append(f"{trial.name}: {len(lines) - 1} faults, {time.process_time() - started:.0f} s of CPU in Python")
    return "\n".join(lines)
