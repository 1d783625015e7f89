"""Counts that change while they are read are never published with the hash of other counts."""

import datetime as dt
from contextlib import contextmanager

import pytest
from deltalake import DeltaTable

from jobs import build_affinity
from jobs.tables import duck
from jobs.tables.schemas import WAREHOUSE
from model.cli import TryAgainError

DATES = [dt.date(2026, 11, day) for day in (1, 2)]


def test_reports_are_opened_before_the_counts(*, counted_warehouse, monkeypatch):
    """Otherwise a window could be published from old counts with the hash of new ones, and never be rebuilt."""
    warehouse = counted_warehouse(DATES[:1], 20)
    opened = []

    class Recorded(DeltaTable):
        def __init__(self, uri):
            opened.append(uri.removeprefix(f"{warehouse}/"))
            super().__init__(uri)

    monkeypatch.setattr(duck, "DeltaTable", Recorded)
    with duck.connect(str(warehouse), restricted=True):
        pass
    assert opened[0] == "analytics/run_quality"
    assert sorted(opened) == sorted(WAREHOUSE)


def test_publication_fails_if_a_date_is_run_again_while_the_tables_are_opened(*, counted_warehouse, monkeypatch):
    warehouse = counted_warehouse(DATES[:2], 300)
    settings = build_affinity.Settings(business_date=DATES[1], warehouse=str(warehouse))
    monkeypatch.setattr(build_affinity, "N_REPLICATES", 2)
    opened = build_affinity.connect

    @contextmanager
    def connect_and_change(*arguments, **flags):
        with opened(*arguments, **flags) as connection:
            monkeypatch.setattr(build_affinity, "connect", opened)
            counted_warehouse(DATES[:1], 300, seed=1, warehouse=warehouse)
            yield connection

    monkeypatch.setattr(build_affinity, "connect", connect_and_change)
    with pytest.raises(TryAgainError, match="was changed by another job meanwhile; run again"):
        build_affinity.main(settings)
    build_affinity.main(settings)
