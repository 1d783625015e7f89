import datetime as dt
import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F

from jobs import score_photos
from jobs.score_photos import age_scorer, mean_age_years, path_is_safe, score_events, screen_events
from jobs.tables import quarantine
from jobs.tables.landing import open_place
from model import kernel
from model.cli import InputError
from model.predict import shared, version

DATE = dt.date(2026, 11, 9)

SAFE = ["photos/a.jpg", "a.jpg", "photos/..a/b..jpg", "photos/a b%20ü.jpg"]
UNSAFE = [
    "../a.jpg",
    "photos/../../a.jpg",
    "photos/..",
    "..",
    "/etc/hostname",
    "file:/etc/hostname",
    "s3a://other/a.jpg",
    "..\\a.jpg",
    "~root/a.jpg",
    "a\x00.jpg",
    "a\n.jpg",
    "",
    "  ",
    "photos//a.jpg",
    "photos/a.jpg/",
    "./a.jpg",
    "a" * 1025,
]


@pytest.mark.parametrize(("paths", "safe"), [(SAFE, True), (UNSAFE, False)])
def test_only_paths_below_the_landing_zone_are_safe(spark, paths, safe):
    frame = spark.createDataFrame([(path,) for path in paths], "path string")
    results = frame.select("path", path_is_safe(F.col("path"))).collect()
    assert [path for path, is_safe in results if is_safe is not safe] == []


def test_an_unusable_event_is_rejected_with_a_reason(rows):
    cases = [
        ({}, None),
        ({"photo_id": None}, "missing_value"),
        ({"till_id": None}, "missing_value"),
        ({"path": None}, "missing_value"),
        ({"till_id": ""}, "missing_value"),
        ({"captured_at": None}, "no_capture_time"),
        ({"captured_at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)}, "time_off_date"),
        ({"path": "../p1.jpg"}, "path_outside_landing"),
        ({"store_id": "s9"}, "unknown_store"),
    ]
    events = [{"photo_id": f"p{number}", **event} for number, (event, _) in enumerate(cases)]
    stores = rows("receipts", {}, {"receipt_id": "r2"}).select("store_id")
    screened = screen_events(rows("photo_events", *events), stores, DATE).collect()
    assert {row.photo_id: row.reason for row in screened} == {
        event["photo_id"]: reason for event, (_, reason) in zip(events, cases, strict=True)
    }


def test_a_file_named_by_two_events_is_used_once(rows):
    at = [dt.datetime(2026, 11, 9, 9, minute, tzinfo=dt.UTC) for minute in range(3)]
    events = [
        {"photo_id": "later", "path": "a.jpg", "captured_at": at[2]},
        {"photo_id": "second", "path": "a.jpg", "captured_at": at[1]},
        {"photo_id": "first", "path": "a.jpg", "captured_at": at[1]},
        {"photo_id": "first", "path": "a.jpg", "captured_at": at[1]},
        {"photo_id": "elsewhere", "path": "a.jpg", "captured_at": at[0], "store_id": "s9"},
        {"photo_id": "timeless", "path": "a.jpg", "captured_at": None},
        {"photo_id": "conflict", "path": "a.jpg", "captured_at": at[0]},
        {"photo_id": "conflict", "path": "a.jpg", "captured_at": at[0], "till_id": "t2"},
        {"photo_id": "other", "path": "b.jpg", "captured_at": at[2]},
        {"photo_id": "no path", "path": None},
        {"photo_id": "no path either", "path": None},
    ]
    screened = screen_events(rows("photo_events", *events), rows("receipts", {}).select("store_id"), DATE)
    outcome = {row.photo_id: (row.reason, row.detail) for row in screened.collect()}
    assert {name: reason for name, (reason, _) in outcome.items()} == {
        "first": None,
        "second": "path_repeated",
        "later": "path_repeated",
        "elsewhere": "unknown_store",
        "timeless": "no_capture_time",
        "conflict": "conflicting_key",
        "other": None,
        "no path": "missing_value",
        "no path either": "missing_value",
    }
    assert outcome["later"][1] == "another row has this path, and is earlier"  # no id of another person
    assert quarantine.count(screened) == {"rows_in": 11, "rows_used": 2, "rows_quarantined": 8, "rows_duplicate": 1}


def test_a_path_of_invalid_utf8_is_not_safe(spark):
    frame = spark.sql("SELECT CAST(X'70E92E6A7067' AS STRING) AS path")
    assert frame.select(path_is_safe(F.col("path"))).collect() == [(False,)]


def test_a_machine_with_another_model_version_fails(model_folder):
    assert shared(model_folder, version(model_folder), "cpu").version == version(model_folder)
    with pytest.raises(RuntimeError, match=f"holds model {version(model_folder)} on this machine; wanted v9"):
        shared(model_folder, "v9", "cpu")


def test_a_photo_that_this_model_has_scored_is_not_scored_again(rows, chain, model_folder):
    photo = sorted((chain / "landing" / "photos").glob("*/*.jpg"))[1].relative_to(chain / "landing")
    events = rows(
        "photo_events", *({"photo_id": name, "path": str(photo)} for name in ("old", "retry", "other", "new"))
    )
    known = rows(
        "restricted/photo_ages",
        {"photo_id": "old", "age_years": 77.0, "model_version": "v2"},
        {"photo_id": "retry", "age_years": None, "status": "unreadable", "model_version": "v2"},
        {"photo_id": "other", "age_years": 66.0, "model_version": "v1"},
        {"photo_id": "gone", "age_years": 55.0, "model_version": "v2"},
    )
    scorer = age_scorer(open_place(str(chain / "landing")), model_folder, version(model_folder))
    scored = {row.photo_id: row for row in score_events(events, known, scorer, "v2", 1).collect()}
    assert {name for name, row in scored.items() if row.is_new} == {"retry", "other", "new"}
    assert scored["old"].age_years == 77.0
    assert scored["retry"].age_years == scored["other"].age_years == scored["new"].age_years not in (66.0, 77.0)
    assert {row.status for row in scored.values()} == {"scored"}


@pytest.mark.usefixtures("spark")
def test_a_run_uses_one_model_even_if_the_link_moves(chain, model_folder, tmp_path, monkeypatch):
    first, second, link = (tmp_path / "store" / name for name in ("first", "second", "current"))
    for folder in (first, second):
        shutil.copytree(model_folder, folder)
    landing = shutil.copytree(chain / "landing", tmp_path / "landing")
    (events,) = (landing / "photo_events").rglob("*.parquet")
    pq.write_table(pq.ParquetFile(events).read().slice(0, 8), events)
    card = json.loads((second / "model.json").read_text())
    (second / "model.json").write_text(json.dumps({**card, "note": "a later model"}))
    link.symlink_to("first")
    prepared = []

    def promote_and_prepare(model):
        prepared.append(model)
        link.unlink()
        link.symlink_to("second")
        return "cpu"

    monkeypatch.setattr(score_photos.predict, "prepare", promote_and_prepare)
    score_photos.main(
        score_photos.Settings(
            business_date=DATE, landing=str(landing), warehouse=str(tmp_path / "warehouse"), model=link
        )
    )
    ages = DeltaTable(tmp_path / "warehouse" / "restricted" / "photo_ages").to_pyarrow_table()
    quality = DeltaTable(tmp_path / "warehouse" / "analytics" / "run_quality").to_pyarrow_table().to_pylist()
    assert [row["value"] for row in quality if row["measure"] == "mean_age_years"] == [None]  # of fewer than ten photos
    assert set(ages["model_version"].to_pylist()) == {version(first)} != {version(second)}
    assert set(ages["status"].to_pylist()) >= {"scored"}
    assert prepared == [first]  # so the package is stored beside the version, not beside the link


@pytest.mark.parametrize(("n", "mean"), [(9, None), (10, 41.5)])
def test_a_mean_age_of_fewer_than_ten_photos_is_not_reported(rows, n, mean):
    scored = [{"age_years": 40.0}] * (n - 1) + [{"age_years": 55.0}]
    photos = rows("restricted/photo_ages", *scored, {"age_years": None}, {"age_years": None})
    assert photos.agg(mean_age_years()).collect() == [(mean,)]


def test_a_model_that_cannot_score_is_reported_before_anything_is_written(chain, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "age")
    card = json.loads((model / "model.json").read_text())
    card["network"]["std"] = [0, 0, 0]
    (model / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"std is .*; it must be three numbers between 0 and 1000"):
        score_photos.main(
            score_photos.Settings(
                business_date=DATE,
                landing=str(chain / "landing"),
                warehouse=str(tmp_path / "warehouse"),
                model=model,
            )
        )
    assert not (tmp_path / "warehouse").exists()


@pytest.fixture
def run_date(chain, model_folder, tmp_path, capsys):
    """Score a date of few photos with a copy of the model; returns `age_errors`, the report and the output."""
    landing = shutil.copytree(chain / "landing", tmp_path / "landing")
    (events,) = (landing / "photo_events").rglob("*.parquet")
    pq.write_table(pq.ParquetFile(events).read().slice(0, 2), events)

    def run(held_out, *, files=(), kernel_photos=None):
        model = shutil.copytree(model_folder, tmp_path / "age", dirs_exist_ok=True)
        for name, text in {"held_out.csv": held_out, **dict(files)}.items():
            (model / name).write_text(text)
        warehouse = tmp_path / "warehouse"
        score_photos.main(
            score_photos.Settings(
                business_date=DATE,
                landing=str(landing),
                warehouse=str(warehouse),
                model=model,
                kernel_photos=kernel_photos,
            )
        )
        errors, quality = (
            DeltaTable(warehouse / name).to_pyarrow_table().to_pylist()
            for name in ("restricted/age_errors", "analytics/run_quality")
        )
        report = {row["measure"]: row["text"] or row["value"] for row in quality if not row["source_table"]}
        return errors, report, capsys.readouterr().out

    return run


HEADER = "file_name,digest,real_age,age_years\n"


@pytest.mark.usefixtures("spark")
def test_the_pairs_of_the_held_out_photos_are_written_and_identified(run_date):
    ages = np.arange(20, 70).repeat(5)
    estimates = ages + 1.25
    text = HEADER + "".join(f"{n}.jpg,d,{age},{age + 1.25}\n" for n, age in enumerate(ages))
    errors, report, printed = run_date(text)
    assert {row["source"] for row in errors} == {"held_out"}
    assert sorted((row["age_years"], row["estimated_years"]) for row in errors) == list(
        zip(ages.tolist(), estimates.tolist(), strict=True)
    )
    assert report["n_age_errors"] == 250
    assert report["kernel_version"] == kernel.version(ages, estimates)
    assert f"250 pairs of a true and an estimated age, held out by age, kernel version {report['kernel_version']}" in (
        printed
    )


@pytest.mark.usefixtures("spark")
def test_kernel_photos_replace_the_held_out_photos_and_a_model_without_pairs_clears_the_date(run_date, chain, tmp_path):
    photos = sorted((chain / "landing" / "photos").glob("*/*.jpg"))[1:4]
    (tmp_path / "tills" / "final_files").mkdir(parents=True)
    for photo in photos:
        shutil.copy(photo, tmp_path / "tills" / "final_files")
    (tmp_path / "tills" / "labels.csv").write_text(
        "".join(["file_name,real_age\n", *(f"{p.name},33\n" for p in photos)])
    )
    errors, report, printed = run_date(HEADER, files={"learnt_photos.txt": ""}, kernel_photos=tmp_path / "tills")
    assert [(row["source"], row["age_years"]) for row in errors] == [("kernel_photos", 33)] * 3
    assert report["n_age_errors"] == 3
    assert len(report["kernel_version"]) == 12
    assert f"corrected from {kernel.MIN_PAIRS} pairs, so they are not corrected" in printed

    errors, report, printed = run_date(HEADER)
    assert errors == []
    assert report["n_age_errors"] == 0
    assert "kernel_version" not in report
    assert "0 pairs of a true and an estimated age" in printed
