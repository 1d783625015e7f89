"""What processes of the tests run. They are forked from a server that has imported the jobs, so they start at once."""

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from jobs import build_affinity, query, rebuild_windows, screen_cashiers
from tests.jobs.faults import hooks
from tests.jobs.faults.points import Fault, Writes

TIMEOUT_SECONDS = 200


def context() -> Any:
    """Return the context in which processes start."""
    forks = multiprocessing.get_context("forkserver")
    forks.set_forkserver_preload([__name__])
    return forks


def run_with_fault(job: Callable[[Any], object], settings: Any, root: Path, fault: Fault) -> None:
    """Run a job that a signal kills at one of its writes."""
    hooks.install(pytest.MonkeyPatch())
    with hooks.watched(Writes(root, fault, real=True)):
        job(settings)


def run_steps(steps: Sequence[tuple[Callable[..., object], Any]], barrier: Any, errors: Any) -> None:
    """Run steps one after the other, beginning together with the other processes; put the error, or an empty text."""
    query.failed_checks = lambda *_: {}  # type: ignore[assignment] # these warehouses have no receipts
    barrier.wait(timeout=TIMEOUT_SECONDS)
    try:
        for step, argument in steps:
            step(argument)
    except Exception as error:  # noqa: BLE001 - the errors of all libraries
        errors.put(f"{type(error).__name__}: {error}")
    else:
        errors.put("")


def night(warehouse: Path, date: Any) -> list[tuple[Callable[..., object], Any]]:
    """Return the steps of a night that need no landing zone."""
    return [(job.main, job.Settings(business_date=date, warehouse=str(warehouse))) for job in STEPS]


STEPS = (build_affinity, screen_cashiers)


def rebuild(warehouse: Path) -> list[tuple[Callable[..., object], Any]]:
    """Return the end of a backfill."""
    return [(rebuild_windows.main, rebuild_windows.Settings(warehouse=str(warehouse)))]


def together(*of_processes: Sequence[tuple[Callable[..., object], Any]]) -> list[str]:
    """Run lists of steps at the same time, each in its process; return their errors, empty where there was none."""
    forks = context()
    barrier = forks.Barrier(len(of_processes))
    queues = [forks.Queue() for _ in of_processes]
    processes = [
        forks.Process(target=run_steps, args=(steps, barrier, errors))
        for steps, errors in zip(of_processes, queues, strict=True)
    ]
    for process in processes:
        process.start()
    errors = [queue.get(timeout=TIMEOUT_SECONDS) for queue in queues]
    for process in processes:
        process.join()
    return errors
