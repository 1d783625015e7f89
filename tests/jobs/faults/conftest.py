"""Warehouses with an earlier run, and the jobs that run on them with other input."""

import dataclasses
import datetime as dt
import functools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from jobs import build_affinity, query, rebuild_windows, screen_cashiers
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from tests.jobs.faults import hooks
from tests.jobs.faults.states import CASES, REPORTS
from tests.jobs.faults.trials import Trial
from tests.jobs.screening.conftest import sell, three_stores

__all__ = ["sell", "three_stores"]  # fixtures

DATE = dt.date(2026, 11, 9)
YESTERDAY = DATE - dt.timedelta(days=1)
OFFERS = "analytics/age_offers"
LONG_AGO = DATE - dt.timedelta(days=100)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out whole nights, which take minutes, unless everything is tried."""
    return True if collection_path.name == "test_whole_nights.py" and not config.getoption("all_points") else None


@pytest.fixture(scope="module", autouse=True)
def _hooked() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        hooks.install(patch)
        yield


@pytest.fixture(scope="module", autouse=True)
def _remembered() -> Iterator[None]:
    """Compute the figures of a date once. They depend only on the counts and the flags, and the jobs are run often."""
    figures: dict[str, Any] = {}
    windows = [""]  # of the latest publication: its offers follow from them

    def remember(function: Callable[..., Any], *, of_windows: bool = False) -> Callable[..., Any]:
        def call(connection: Any, settings: Any, *arguments: Any) -> Any:
            flags = dataclasses.replace(settings, warehouse="")
            key = str((function.__name__, flags, arguments or windows[0]))
            if of_windows:
                windows[0] = key
            if key not in figures:
                figures[key] = function(connection, settings, *arguments)
            return figures[key]

        return call

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_affinity, "publish_windows", remember(build_affinity.publish_windows, of_windows=True))
        patch.setattr(build_affinity, "offers", remember(build_affinity.offers))
        patch.setattr(query, "failed_checks", lambda *_: {})  # they only read, and these warehouses have no receipts
        patch.setattr(screen_cashiers, "screen_windows", remember(screen_cashiers.screen_windows))
        yield


@pytest.fixture(scope="session")
def everything(pytestconfig: pytest.Config) -> bool:
    """Whether each kind of fault is tried at each point."""
    return bool(pytestconfig.getoption("all_points"))


def make_old(warehouse: Path, *tables: str) -> None:
    """Replace the date of some tables by a row that no run writes; `analytics/run_quality:build_affinity` is a part."""
    opened = Warehouse(str(warehouse))
    for table in tables:
        name, _, part = table.partition(":")
        rows = pa.Table.from_pylist([{}], schema=WAREHOUSE[name].row_schema)
        opened.replace(name, rows, DATE, **({WAREHOUSE[name].partition_by[1]: part} if part else {}))


@pytest.fixture(scope="session")
def published(counted_warehouse: Callable[..., Path]) -> Path:
    """A warehouse with two dates that are counted, published and screened."""
    warehouse = counted_warehouse([YESTERDAY, DATE], 40, n_products=6)
    for date in (YESTERDAY, DATE):
        for job in (build_affinity, screen_cashiers):
            job.main(job.Settings(business_date=date, warehouse=str(warehouse)))
    make_old(
        warehouse,
        "analytics/age_bands",
        OFFERS,
        "restricted/cashier_screening",
        "restricted/store_screening",
        f"{REPORTS}:build_affinity",
    )
    return warehouse


@pytest.fixture(scope="module")
def publication(published: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """`build_affinity` with other bands than before."""
    warehouse = tmp_path_factory.mktemp("publication") / "warehouse"
    settings = build_affinity.Settings(
        business_date=DATE, warehouse=str(warehouse), age_bands=("under_18", "18-59", "60_plus"), offers_per_band=1
    )
    return Trial(
        name="build_affinity",
        job="build_affinity",
        date=DATE,
        start=published,
        warehouse=warehouse,
        run=functools.partial(build_affinity.main, settings),
    ).count()


@pytest.fixture(scope="session")
def screened(sell: Callable[..., Path], three_stores: Callable[..., list[dict]]) -> Path:
    """A warehouse with a cashier who will be in review, and rows in all tables that are due for deletion."""
    planted = three_stores(asks=0.05, n_sales=60)
    warehouse = sell([YESTERDAY, DATE], planted)
    cautious = {"review_q": 1e-9, "review_ratio": 0.001}
    for date in (YESTERDAY, DATE):
        screen_cashiers.main(screen_cashiers.Settings(business_date=date, warehouse=str(warehouse), **cautious))
    tables = Warehouse(str(warehouse))
    assert len(tables.rows(CASES)) == 0
    sell([LONG_AGO], planted[:1], warehouse)
    for name in ("restricted/cashier_screening", "restricted/store_screening"):
        rows = tables.rows(name, first=DATE).drop_columns("business_date")
        tables.replace(name, rows, LONG_AGO)
        tables.replace(name, rows, DATE - dt.timedelta(days=50))
    due = {"case_id": "due", "batch_id": "b", "delete_after": YESTERDAY}
    kept = {"case_id": "kept", "batch_id": "b", "delete_after": DATE}
    tables.replace(CASES, pa.Table.from_pylist([due, kept], schema=WAREHOUSE[CASES].row_schema), LONG_AGO)
    make_old(warehouse, "restricted/store_screening", f"{REPORTS}:screen_cashiers")
    return warehouse


@pytest.fixture(scope="module")
def screening(screened: Path, tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """`screen_cashiers` that finds a cashier in review, draws cases and deletes what is due."""
    warehouse = tmp_path_factory.mktemp("screening") / "warehouse"
    settings = screen_cashiers.Settings(business_date=DATE, warehouse=str(warehouse))
    return Trial(
        name="screen_cashiers",
        job="screen_cashiers",
        date=DATE,
        start=screened,
        warehouse=warehouse,
        run=functools.partial(screen_cashiers.main, settings),
    ).count()


@pytest.fixture(scope="module")
def rebuild(published: Path, counted_warehouse: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Trial:
    """`rebuild_windows` after the counts of a date have changed."""
    folder = tmp_path_factory.mktemp("rebuild")
    start, warehouse = shutil.copytree(published, folder / "start"), folder / "warehouse"
    counted_warehouse([DATE], 40, 1, warehouse=start, n_products=6)
    return Trial(
        name="rebuild_windows",
        date=DATE,
        start=start,
        warehouse=warehouse,
        run=functools.partial(rebuild_windows.main, rebuild_windows.Settings(warehouse=str(warehouse))),
    ).count()
