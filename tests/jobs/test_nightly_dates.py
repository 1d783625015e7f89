"""Several dates in one run of `jobs.nightly`, with programs that only record their settings."""

import datetime as dt
from types import SimpleNamespace

import pytest

from jobs import (
    build_affinity,
    count_purchases,
    match_receipts,
    nightly,
    rebuild_windows,
    score_photos,
    screen_cashiers,
    watch_ages,
)
from jobs.tables.schemas import UNDATED
from model.cli import InputError

DATES = [dt.date(2026, 11, day) for day in (9, 10, 11)]
STEPS = {"score_photos": score_photos, "match_receipts": match_receipts, "count_purchases": count_purchases}
STEPS |= {"build_affinity": build_affinity, "screen_cashiers": screen_cashiers, "watch_ages": watch_ages}


@pytest.fixture
def runs(monkeypatch) -> SimpleNamespace:
    """The calls of the programs in order, their settings, and the dates whose checks fail."""
    recorded = SimpleNamespace(calls=[], settings=[], failing=set())

    def record(name):
        def main(settings):
            date = getattr(settings, "business_date", None)
            recorded.calls.append(f"{name} {date.day}" if date else name)
            recorded.settings.append(settings)

        return main

    for name, step in {**STEPS, "rebuild_windows": rebuild_windows}.items():
        monkeypatch.setattr(step, "main", record(name))
    monkeypatch.setattr(nightly, "passes_checks", lambda _, date: date not in recorded.failing)
    monkeypatch.setattr(nightly, "landing_files", lambda *_: [])
    return recorded


def settings(*dates, **flags):
    return nightly.Settings(business_date=dates, landing="landing", warehouse="warehouse", model="model", **flags)


def test_dates_run_oldest_first_and_windows_are_rebuilt_once(runs):
    nightly.main(settings(DATES[2], DATES[0], DATES[0]))
    assert runs.calls == [*(f"{name} {day}" for day in (9, 11) for name in STEPS), "rebuild_windows"]


def test_a_date_that_fails_its_checks_stops_the_run(runs):
    runs.failing.add(DATES[1])
    with pytest.raises(SystemExit, match="1"):
        nightly.main(settings(*DATES))
    assert runs.calls == [f"{name} {day}" for day in (9, 10) for name in STEPS]


def test_flags_of_publication_reach_build_affinity_and_the_rebuild(runs):
    flags = {"age_bands": ("under_18", "18-59", "60_plus"), "offers_per_band": 3, "offer_age_restricted": True}
    nightly.main(settings(DATES[0], **flags))
    published, _, _, rebuilt = runs.settings[-4:]
    for of in (published, rebuilt):
        assert vars(of) == vars(of) | flags


def test_flags_of_screening_reach_screen_cashiers_and_the_rebuild(runs):
    flags = {"screening_days": (14,), "hour_blocks": (6, 18), "watch_p": 0.01, "review_sales": 20}
    nightly.main(settings(DATES[0], **flags))
    screened, _, rebuilt = runs.settings[-3:]
    for of in (screened, rebuilt):
        assert vars(of) == vars(of) | flags


def test_the_time_zone_reaches_the_counts(runs):
    nightly.main(settings(DATES[0], time_zone="Europe/Madrid"))
    assert [vars(of)["time_zone"] for of in runs.settings if "time_zone" in vars(of)] == ["Europe/Madrid"]


def test_a_date_that_has_not_landed_stops_the_run_before_the_first_step(runs, monkeypatch):
    def landing_files(_, table, date):
        if date == DATES[1] and table not in UNDATED:
            raise InputError(f"{table} of {date} is missing")
        return []

    monkeypatch.setattr(nightly, "landing_files", landing_files)
    with pytest.raises(InputError, match="of 2026-11-10 is missing"):
        nightly.main(settings(*DATES))
    assert runs.calls == []
