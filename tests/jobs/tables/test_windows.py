"""Which dates are stale: their windows contain other counts than those that were published and screened."""

import datetime as dt

import pytest

from jobs.tables.windows import Versions, stale_dates, window_dates

FIRST = dt.date(2026, 11, 1)


def versions_of(*, first, days, **changed) -> dict[dt.date, Versions]:
    """Return versions of consecutive dates, all up to date before `changed`."""
    dates = [first + dt.timedelta(days=day) for day in range(days)]
    counted = {date: Versions(f"counts of {date}", "model", "kernel", None, None) for date in dates}
    hashes = {date: window_dates(counted, date).hash for date in dates}
    published = {date: counted[date]._replace(windows_hash=h, screening_hash=h) for date, h in hashes.items()}
    return published | {first: published[first]._replace(**changed)}


@pytest.mark.parametrize("change", [{"counts_hash": "other"}, {"model_version": "other"}, {"kernel_version": None}])
def test_a_changed_date_makes_28_windows_stale(change):
    versions = versions_of(first=FIRST, days=40, **change)
    assert stale_dates(versions) == list(versions)[:28]


def test_a_removed_date_makes_27_later_windows_stale():
    versions = versions_of(first=FIRST, days=40, counts_hash=None, windows_hash=None, screening_hash=None)
    assert stale_dates(versions) == list(versions)[1:28]


@pytest.mark.parametrize("name", ["windows_hash", "screening_hash"])
@pytest.mark.parametrize("value", [None, "other"])
def test_a_date_is_stale_if_one_of_its_two_hashes_differs(name, value):
    versions = versions_of(first=FIRST, days=3, **{name: value})
    assert stale_dates(versions) == [FIRST]
