"""Dates are run again, and the windows that contain them are rebuilt. Windows of 1 and 4 dates keep this fast."""

import datetime as dt
import shutil
from functools import partial

import pytest

from jobs import build_affinity, query, rebuild_windows, screen_cashiers
from jobs.tables import windows
from jobs.tables.duck import connect
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse

DATES = [dt.date(2026, 11, day) for day in range(1, 10)]
CHANGED = [DATES[1], DATES[2], DATES[4]]
HOLD_CHANGED = DATES[1:8]
"""The windows of 4 dates that contain a changed date."""


@pytest.fixture(autouse=True, scope="module")
def _small():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(build_affinity, "N_REPLICATES", 2)
        for module in (build_affinity, windows):
            patch.setattr(module, "WINDOW_DAYS", (1, 4))
        yield


@pytest.fixture(autouse=True)
def checked(monkeypatch) -> list[dt.date]:
    """Only record the dates that are checked: the tables of photos are empty."""
    dates = []
    monkeypatch.setattr(query, "failed_checks", lambda _, date: dates.append(date) or {})
    return dates


@pytest.fixture
def published(monkeypatch) -> list[dt.date]:
    """The dates that `rebuild_windows` publishes, in order."""
    dates = []
    publish = build_affinity.main

    def record(settings):
        dates.append(settings.business_date)
        publish(settings)

    monkeypatch.setattr(build_affinity, "main", record)
    return dates


@pytest.fixture
def unscreened(monkeypatch, report_windows, tmp_path):
    """Copy a warehouse, and only report its screenings from now on: half of the time of a test of publications."""

    def copy(warehouse):
        monkeypatch.setattr(screen_cashiers, "main", partial(report_windows, "screen_cashiers"))
        return shutil.copytree(warehouse, tmp_path / "warehouse")

    return copy


def publish(warehouse, dates, steps=(build_affinity, screen_cashiers)):
    for date in dates:
        for step in steps:
            step.main(step.Settings(business_date=date, warehouse=str(warehouse)))


def rebuild(warehouse, **flags):
    rebuild_windows.main(rebuild_windows.Settings(warehouse=str(warehouse), **flags))


def analytics(warehouse) -> dict[str, list]:
    """Return all rows of the analytics zone."""
    with connect(str(warehouse)) as connection:
        names = [name for name in WAREHOUSE if name.startswith("analytics/")]
        return {name: sorted(connection.sql(f"FROM {name.replace('/', '.')}").fetchall(), key=str) for name in names}


def texts(warehouse, measure, job="build_affinity") -> dict[dt.date, str]:
    with connect(str(warehouse)) as connection:
        statement = "SELECT business_date, text FROM analytics.run_quality WHERE measure = ? AND job = ?"
        return dict(connection.execute(statement, [measure, job]).fetchall())


@pytest.fixture(scope="module")
def backfill(counted_warehouse):
    warehouse = counted_warehouse(DATES, 150, seed=1)
    publish(warehouse, DATES)
    counted_warehouse(CHANGED, 170, seed=2, warehouse=warehouse)
    publish(warehouse, CHANGED)
    return warehouse


@pytest.fixture
def backfilled(backfill, unscreened):
    """A published warehouse in which three old dates were run again, with other counts."""
    return unscreened(backfill)


@pytest.fixture(scope="module")
def three_dates(counted_warehouse):
    warehouse = counted_warehouse(DATES[:3], 150)
    publish(warehouse, DATES[:3])
    return warehouse


@pytest.fixture
def three(three_dates, unscreened):
    return unscreened(three_dates)


def test_rebuilt_windows_equal_those_of_a_clean_run_in_order(
    *, backfill, tmp_path, counted_warehouse, published, checked, capsys
):
    backfilled = shutil.copytree(backfill, tmp_path / "warehouse")
    clean = counted_warehouse(DATES, 150, seed=1)
    counted_warehouse(CHANGED, 170, seed=2, warehouse=clean)
    publish(clean, DATES)
    assert analytics(backfilled) != analytics(clean)
    published.clear()

    rebuild(backfilled)
    # Each once. The changed dates themselves were counted before the first of them was published.
    stale = [date for date in HOLD_CHANGED if date not in CHANGED]
    assert published == checked == stale
    assert analytics(backfilled) == analytics(clean)
    assert f"rebuilt {', '.join(map(str, stale))}\n" in capsys.readouterr().out

    rebuild(backfilled)
    assert published == stale
    assert capsys.readouterr().out == "rebuild_windows: no window is out of date\n"


def test_dates_that_were_counted_but_not_published_are_published(*, three, counted_warehouse, published):
    counted_warehouse(DATES[2:3], 160, warehouse=three)
    rebuild(three)
    assert published == DATES[2:3]


def test_nothing_is_stale_if_a_date_is_run_again_with_equal_counts(
    *, three_dates, tmp_path, counted_warehouse, published
):
    three = shutil.copytree(three_dates, tmp_path / "three")
    before = analytics(three)
    counted_warehouse(DATES[:1], 150, warehouse=three)
    publish(three, DATES[:1])
    published.clear()
    rebuild(three)
    assert published == []
    assert analytics(three) == before


def test_interrupted_rebuild_continues_with_the_interrupted_date(*, backfilled, published, monkeypatch):
    published.clear()
    conform = build_affinity.conform

    def interrupt(rows, name):  # after the first tables of the second date were replaced
        if len(published) == 2 and name == "analytics/age_offers":
            raise KeyboardInterrupt
        return conform(rows, name)

    monkeypatch.setattr(build_affinity, "conform", interrupt)
    with pytest.raises(KeyboardInterrupt):
        rebuild(backfilled)
    monkeypatch.setattr(build_affinity, "conform", conform)
    interrupted = published[1]
    assert published == [DATES[3], interrupted]
    rebuild(backfilled)
    assert published == [DATES[3], interrupted, interrupted, *DATES[6:8]]


@pytest.mark.parametrize("versions", [("model2", "kernel1"), ("model1", "kernel2"), ("model1", None)])
def test_date_with_other_versions_is_left_out_of_windows_and_named(*, versions, three, counted_warehouse):
    counted_warehouse(DATES[1:2], 150, warehouse=three, versions=versions)
    publish(three, DATES[1:2])
    rebuild(three)
    first, other, last = DATES[:3]
    assert texts(three, "dates_left_out") == {first: "none", other: str(first), last: str(other)}
    with connect(str(three)) as connection:
        days = connection.sql(
            """SELECT DISTINCT business_date, n_days FROM analytics.age_category_affinity WHERE window_days = 4"""
        ).fetchall()
    assert sorted(days) == [(first, 1), (other, 1), (last, 2)]


def test_date_without_counts_is_skipped_and_named(*, three, published, capsys):
    no_report = WAREHOUSE["analytics/run_quality"].row_schema.empty_table()
    for job in ("count_purchases", "build_affinity", "screen_cashiers"):  # as at the start of match_receipts
        Warehouse(str(three)).replace("analytics/run_quality", no_report, DATES[1], job=job)
    rebuild(three)
    assert published == DATES[2:3]
    assert f"skipped, because they have no counts (run them again): {DATES[1]}\n" in capsys.readouterr().out


def test_date_that_is_run_again_during_the_rebuild_is_skipped(*, backfilled, published, monkeypatch, capsys):
    published.clear()
    read = rebuild_windows.current_versions

    def current_versions(warehouse, *dates):
        versions = read(warehouse, *dates)
        if published and DATES[5] in versions:  # a run of this date has begun
            versions[DATES[5]] = versions[DATES[5]]._replace(counts_hash=None)
        return versions

    monkeypatch.setattr(rebuild_windows, "current_versions", current_versions)
    rebuild(backfilled)
    assert published == [DATES[3], *DATES[6:8]]
    assert f"skipped, because they have no counts (run them again): {DATES[5]}\n" in capsys.readouterr().out


def test_flags_of_publication_reach_the_rebuilt_dates(*, backfilled):
    rebuild(backfilled, age_bands=("under_18", "18-59", "60_plus"))
    with connect(str(backfilled)) as connection:
        counts = dict(connection.sql("SELECT business_date, COUNT(*) FROM analytics.age_bands GROUP BY ALL").fetchall())
    assert {date for date, n in counts.items() if n == 3} == set(HOLD_CHANGED) - set(CHANGED)


def test_failed_check_gives_exit_code_1_after_all_dates_are_rebuilt(*, backfilled, published, monkeypatch, capsys):
    published.clear()
    answer = query.Answer(columns=["item"], rows=[("Beer",)])
    failed = DATES[5]
    monkeypatch.setattr(query, "failed_checks", lambda _, date: {"checks/x": answer} if date == failed else {})
    with pytest.raises(SystemExit, match="1"):
        rebuild(backfilled)
    assert published == [DATES[3], DATES[5], *DATES[6:8]]
    errors = capsys.readouterr().err
    assert "checks/x: 1 rows\n" in errors
    assert f"--param business_date={failed} --warehouse {backfilled}\n" in errors
    assert f"rebuild_windows: checks failed for {failed}\n" in errors
    published.clear()
    with pytest.raises(SystemExit, match="1"):  # it is not forgotten
        rebuild(backfilled)
    monkeypatch.setattr(query, "failed_checks", lambda *_: {})
    rebuild(backfilled)
    rebuild(backfilled)
    assert published == [failed, failed]


@pytest.mark.parametrize("step", [build_affinity, screen_cashiers])
def test_a_date_with_one_of_the_two_reports_is_published_and_screened(*, counted_warehouse, published, step):
    warehouse = counted_warehouse(DATES[:2], 50)
    publish(warehouse, DATES[:2])
    counted_warehouse(DATES[1:2], 50, warehouse=warehouse)
    publish(warehouse, DATES[1:2], [step])
    published.clear()
    rebuild(warehouse)
    assert published == DATES[1:2]
    hashes = [texts(warehouse, "windows_hash", job) for job in ("build_affinity", "screen_cashiers")]
    assert sorted(hashes[0]) == DATES[:2]
    assert hashes[0] == hashes[1]


@pytest.mark.parametrize("again", [build_affinity, screen_cashiers])
def test_publication_and_screening_keep_each_others_report(*, counted_warehouse, again):
    warehouse = counted_warehouse(DATES[:1], 50)
    publish(warehouse, DATES[:1])
    before = analytics(warehouse)
    publish(warehouse, DATES[:1], [again])
    assert analytics(warehouse) == before


def test_rebuild_interrupted_between_publication_and_screening_repeats_the_date(
    *, counted_warehouse, published, monkeypatch
):
    warehouse = counted_warehouse(DATES[:2], 50)
    with monkeypatch.context() as patched:
        patched.setattr(screen_cashiers, "connect", lambda *_, **__: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            rebuild(warehouse)
    assert published == DATES[:1]
    rebuild(warehouse)
    assert published == [DATES[0], *DATES[:2]]
    assert texts(warehouse, "windows_hash", "screen_cashiers").keys() == set(DATES[:2])
