"""The nightly comparison of estimated ages, on warehouses written without Spark and model."""

import dataclasses
import datetime as dt

import numpy as np
import pyarrow as pa
import pytest

from jobs import query, watch_ages
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.warehouse import Warehouse
from model.cli import InputError

DATES = [dt.date(2026, 11, 2) + dt.timedelta(days=days) for days in range(8)]
TODAY = DATES[-1]
STORES = ("s1", "s2", "s3", "s4", "s5", "s6")


def photos(rng, stores=STORES, n=45, **columns):
    """Return rows of photos of ages around 40, as estimated with an error of 7 years."""
    size = n * len(stores)
    ages = np.clip(rng.normal(40, 16, size) + rng.normal(0, 7, size), 0, 100).round(2)
    rows = [
        {
            "photo_id": f"p{i}",
            "store_id": stores[i % len(stores)],
            "till_id": "t1",
            "age_years": age,
            "status": "scored",
        }
        | {"age_low": age - 9, "age_high": age + 9 + i % 5, "model_version": "m1"}
        for i, age in enumerate(ages.tolist())
    ]
    return [row | {name: value(row) for name, value in columns.items()} for row in rows]


@pytest.fixture(autouse=True)
def _few_replicates(monkeypatch):
    """A third of the replicates; test_misfit.py tests the misfit."""
    monkeypatch.setattr(watch_ages, "N_REPLICATES", 20)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Write a warehouse: `write({date: rows of photo_ages}, pairs=1500)`; the photos of a date have one receipt."""

    def make(photos_of, pairs=1500, model="m1"):
        warehouse = tmp_path_factory.mktemp("watched")
        tables = Warehouse(str(warehouse))
        tables.create_tables()

        def put(name, rows, date, **part):
            tables.replace(name, pa.Table.from_pylist(rows, schema=WAREHOUSE[name].row_schema), date, **part)

        rng = np.random.default_rng(0)
        true = rng.integers(5, 90, pairs)
        estimated = true + rng.normal(0, 7, pairs)
        for date, rows in photos_of.items():
            put("restricted/photo_ages", rows, date)
            matched = [row["photo_id"] for row in rows if row["age_years"] is not None]
            put("restricted/receipt_ages", [{"receipt_id": "r1", "photo_ids": matched, "n_photos": len(matched)}], date)
            errors = zip(["held_out"] * pairs, true.tolist(), estimated.tolist(), strict=True)
            names = ("source", "age_years", "estimated_years")
            put("restricted/age_errors", [dict(zip(names, row, strict=True)) for row in errors], date)
            reports = {
                "score_photos": {"measure": "model_version", "text": model},
                "match_receipts": {"measure": "photos_unmatched", "value": 6.0},
                "count_purchases": {"measure": "counts_hash", "text": str(date)},
            }
            for job, line in reports.items():
                put("analytics/run_quality", [{"source_table": ""} | line], date, job=job)
        return warehouse

    return make


@pytest.fixture(scope="module")
def week(write):
    """Eight dates of the same shoppers. Read-only for tests."""
    rng = np.random.default_rng(1)
    return write({date: photos(rng) for date in DATES})


def report(warehouse, date=TODAY):
    watch_ages.main(watch_ages.Settings(business_date=date, warehouse=str(warehouse)))
    rows = Warehouse(str(warehouse)).rows("analytics/run_quality").to_pylist()
    return {
        row["measure"]: row["value"] if row["text"] is None else row["text"]
        for row in rows
        if row["job"] == "watch_ages" and row["business_date"] == date
    }


def limits(measures):
    return {
        name: (measures[name.removesuffix("_limit")], limit) for name, limit in measures.items() if "_limit" in name
    }


def test_a_date_like_the_others_has_all_measures_within_their_limits(week, capsys):
    measures = report(week)
    assert measures["n_previous_dates"] == 7
    assert measures["unmatched_share"] == pytest.approx(6 / 270, abs=1e-4)
    assert measures["interval_years"] == pytest.approx(20)
    within = limits(measures)
    assert within.keys() == {
        *("psi_previous_limit", "wasserstein_previous_years_limit", "interval_change_years_limit"),
        *("misfit_limit", "store_misfit_limit"),
    }
    assert all(value <= limit for value, limit in within.values()), within
    assert {measures[name] for name in watch_ages.STORE_STATEMENTS} == {0}
    assert "watch_ages: 2026-11-09, all: n_previous_dates 7" in capsys.readouterr().out
    assert query.passes_checks(str(week), TODAY) is False  # the other tables of the date are missing
    assert "warning" not in capsys.readouterr().err


def test_a_second_run_writes_the_same_report(week):
    assert report(week) == report(week)


def test_younger_shoppers_are_a_change_and_no_misfit(write):
    rng = np.random.default_rng(2)
    younger = photos(rng, age_years=lambda row: 0.7 * row["age_years"] + 3)
    measures = report(write({date: photos(rng) for date in DATES[:-1]} | {TODAY: younger}))
    beyond = {name for name, (value, limit) in limits(measures).items() if value > limit}
    assert beyond == {"psi_previous_limit", "wasserstein_previous_years_limit"}
    assert measures["stores_with_shifted_ages"] == 0  # all stores changed alike


def test_a_store_whose_photos_all_look_the_same_is_named(write, capsys):
    rng = np.random.default_rng(3)

    def covered(row):
        return 27 + row["age_years"] % 1 if row["store_id"] == "s2" else row["age_years"]

    warehouse = write({date: photos(rng) for date in DATES[:-1]} | {TODAY: photos(rng, age_years=covered)})
    measures = report(warehouse)
    assert measures["store_misfit"] > measures["store_misfit_limit"]
    assert measures["store_misfit_of"] == "s2"
    assert (measures["stores_with_shifted_ages"], measures["stores_with_shifted_ages_of"]) == (1, "s2")
    capsys.readouterr()
    assert query.passes_checks(str(warehouse), TODAY) is False
    named = "stores_with_shifted_ages"
    flags = f"--restricted --param business_date=2026-11-09 --warehouse {warehouse}"
    line = f"warning: {named}: 1 rows; to see them: python -m jobs.query warnings/{named} {flags}\n"
    assert line in capsys.readouterr().err
    settings = query.Settings(
        statement="warnings",
        restricted=True,
        expect_empty=True,
        param=(f"business_date={TODAY}",),
        warehouse=str(warehouse),
    )
    query.main(settings)  # does not exit
    assert line in capsys.readouterr().err


def test_covered_cameras_on_earlier_dates_and_in_other_stores_do_not_raise_the_limits():
    rng = np.random.default_rng(9)
    true = rng.integers(5, 90, 1500)
    errors = rng.normal(0, 7, 1500)
    pairs = [{"age_years": age, "estimated_years": age + error} for age, error in zip(true, errors, strict=True)]

    def days(n):
        return [np.bincount(np.clip(rng.normal(40, 18, 300), 0, 100).astype(int), minlength=101) for _ in range(n)]

    covered = np.bincount(np.rint(rng.normal(27, 1, 300)).astype(int), minlength=101)
    partly = (0.5 * covered + 0.5 * days(1)[0]).round()
    nothing = np.zeros((8, 3))
    dates = watch_ages.Dates(
        today=partly,
        before=np.array([covered, covered, covered, *days(5)], float),
        intervals=nothing[0],
        intervals_before=nothing,
    )
    stores = {f"s{i}": counts for i, counts in enumerate([partly, *[covered] * 3, *days(5)])}
    measures = watch_ages.find_misfits(dates, stores, pairs)
    assert measures["misfit"] > measures["misfit_limit"]
    assert measures["store_misfit"] > measures["store_misfit_limit"]


def test_dates_of_another_model_are_not_compared(write):
    rng = np.random.default_rng(4)
    other = {date: photos(rng, model_version=lambda _: "m0") for date in DATES[:-1]}
    measures = report(write(other | {TODAY: photos(rng)}))
    assert measures["n_previous_dates"] == 0
    assert not {name for name in measures if "previous_" in name and name != "n_previous_dates"}


def test_photos_without_intervals_have_no_measures_of_them(write):
    rng = np.random.default_rng(5)
    unknown = dict.fromkeys(("age_low", "age_high"), lambda _: None)
    measures = report(write({date: photos(rng, **unknown) for date in DATES}))
    assert measures["interval_years"] is None
    assert not {name for name in measures if name.startswith("interval_change")}
    assert "psi_previous" in measures


def test_few_pairs_of_known_ages_give_no_misfit(write):
    rng = np.random.default_rng(6)
    measures = report(write({TODAY: photos(rng)}, pairs=0))
    assert not {name for name in measures if "misfit" in name or "held_out" in name}


def test_nothing_is_reported_of_fewer_than_ten_photos(write):
    rng = np.random.default_rng(7)
    measures = report(write({date: photos(rng, stores=STORES[:3], n=3) for date in DATES}))
    assert measures == {"obstacle": "fewer_than_10_photos"}
    assert report(write({TODAY: []})) == measures


def test_the_report_has_no_figure_of_few_photos_and_nothing_of_tills(write):
    rng = np.random.default_rng(8)
    few = [row | {"store_id": "few", "age_years": 3.0} for row in photos(rng, n=3)]
    measures = report(write({date: photos(rng) + few for date in DATES}))
    assert "few" not in {measures[name] for name in measures if name.endswith("_of")}
    assert not [name for name in measures if "till" in name or "cashier" in name]


def test_the_job_requires_the_counts(tmp_path):
    tables = Warehouse(str(tmp_path))
    tables.create_tables()
    settings = watch_ages.Settings(business_date=TODAY, warehouse=str(tmp_path))
    with pytest.raises(InputError, match="count_purchases has not finished 2026-11-09"):
        watch_ages.main(settings)


def test_the_job_has_the_flags_of_every_nightly_job():
    assert {field.name for field in dataclasses.fields(watch_ages.Settings)} == {"business_date", "warehouse"}
