"""The scoring of a date: which photos, by which model, in how many tasks, and what the report says."""

import datetime as dt
import json
import shutil
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyspark.sql.pandas.functions import pandas_udf

from jobs import score_photos as job
from jobs.score_photos import Settings, age_scorer, mean_age_years, score_photos
from jobs.tables.landing import open_place
from jobs.tables.spark import spark_session
from model.cli import InputError
from model.predict import PhotoScore, shared, version

DATE = dt.date(2026, 11, 9)
MISSING = "photos/no such.jpg"


def photo_paths(landing, n):
    return [str(path.relative_to(landing)) for path in sorted((landing / "photos").glob("*/*.jpg"))[:n]]


def nearly(row):
    return {name: pytest.approx(value, rel=1e-5) if isinstance(value, float) else value for name, value in row.items()}


def test_the_rows_do_not_depend_on_the_number_of_tasks(spark, chain, model_folder, monkeypatch):
    """Up to the seventh digit, which depends on the size of a batch."""
    landing = chain / "landing"
    paths = [*photo_paths(landing, 8), MISSING]
    photos = pa.table({"photo_id": [f"p{number}" for number in range(len(paths))], "path": paths})
    scorer = age_scorer(open_place(str(landing)), model_folder, version(model_folder))
    scored = []
    for batch in (256, 2):
        monkeypatch.setattr(job, "BATCH", batch)
        scored.append(score_photos(spark, photos, scorer).sort_by("photo_id").to_pylist())
    assert scored[1] == [nearly(row) for row in scored[0]]
    assert [row["photo_id"] for row in scored[0]] == photos["photo_id"].to_pylist()
    *readable, missing = scored[0]
    assert (missing["status"], missing["reason"], missing["age_years"]) == ("unreadable", "file_missing", None)
    readable = [row for row in readable if row["status"] == "scored"]
    assert len(readable) >= 6
    assert all(row["age_low"] <= row["age_years"] <= row["age_high"] for row in readable)
    assert {(row["reason"], row["detail"]) for row in readable} == {(None, None)}


@pytest.mark.parametrize(
    ("n_photos", "tasks"),
    [(1, [1]), (257, [256, 1]), (256 * 64 + 1, [512] * 32 + [1]), (330_000, [5_120] * 64 + [2_320])],
)
def test_the_photos_of_a_task_do_not_depend_on_the_cluster(spark, n_photos, tasks):
    @pandas_udf(job.SCORE)
    def sizes(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        for paths in batches:
            n = len(paths)
            assert list(paths) == sorted(paths)
            yield pd.DataFrame([PhotoScore(age_years=n)] * n, columns=list(PhotoScore._fields)).assign(scored_on=paths)

    ids = [f"p{number:07}" for number in range(n_photos)]
    scores = score_photos(spark, pa.table({"photo_id": ids[::-1], "path": ids[::-1]}), sizes)
    found = scores.group_by(["age_years"]).aggregate([("age_years", "count")])
    expected = {float(size): size * tasks.count(size) for size in tasks}
    assert dict(zip(*found.to_pydict().values(), strict=True)) == expected
    assert scores["photo_id"] == scores["scored_on"]


def test_a_machine_with_another_model_version_fails(model_folder):
    assert shared(model_folder, version(model_folder), "cpu").version == version(model_folder)
    with pytest.raises(RuntimeError, match=f"holds model {version(model_folder)} on this machine; wanted v9"):
        shared(model_folder, "v9", "cpu")


@pytest.mark.parametrize(("n", "mean"), [(0, None), (9, None), (10, 41.5)])
def test_a_mean_age_of_fewer_than_ten_photos_is_not_reported(n, mean):
    ages = [40.0] * (n - 1) + [55.0] * min(n, 1)
    assert mean_age_years(pa.chunked_array([ages, [None, None]], pa.float64())) == mean


@pytest.fixture
def landing(chain, tmp_path):
    """A landing zone whose date has no photo event yet."""
    return shutil.copytree(chain / "landing", tmp_path / "landing")


@pytest.fixture
def land(landing):
    """Replace the photo events: `land({"photo_id": "p1", "path": ...})`, of a store that is known."""
    (file,) = (landing / "photo_events").rglob("*.parquet")
    common = pq.ParquetFile(file).read().slice(0, 1).to_pylist()[0]
    (receipts,) = (landing / "receipts").rglob("*.parquet")
    store = pq.ParquetFile(receipts).read()["store_id"][0].as_py()
    captured_at = dt.datetime(2026, 11, 9, 9, tzinfo=dt.UTC)

    def write(*events):
        rows = [{**common, "store_id": store, "till_id": "t1", "captured_at": captured_at, **event} for event in events]
        pq.write_table(pa.Table.from_pylist(rows, schema=pq.read_schema(file)), file)

    return write


@pytest.fixture
def settings(landing, model_folder, tmp_path):
    return Settings(business_date=DATE, landing=str(landing), warehouse=str(tmp_path / "warehouse"), model=model_folder)


@pytest.fixture
def ages(tmp_path):
    """Return a function that reads `photo_ages` by photo."""

    def read():
        rows = DeltaTable(tmp_path / "warehouse" / "restricted" / "photo_ages").to_pyarrow_table().to_pylist()
        return {row["photo_id"]: row for row in rows}

    return read


@pytest.fixture
def report(tmp_path):
    """Return a function that reads the report: {measure: value or text}."""

    def read():
        lines = DeltaTable(tmp_path / "warehouse" / "analytics" / "run_quality").to_pyarrow_table().to_pylist()
        return {
            line["measure"]: line["value"] if line["text"] is None else line["text"]
            for line in lines
            if line["job"] == "score_photos"
        }

    return read


@pytest.fixture
def sessions(spark, monkeypatch):
    """The names of the Spark sessions that the job asks for."""
    asked = []
    assert spark  # the job uses this session

    def ask(name):
        asked.append(name)
        return spark_session(name)

    monkeypatch.setattr(job, "spark_session", ask)
    return asked


def test_a_second_run_scores_only_new_and_unreadable_photos(landing, land, settings, sessions, ages, report):  # noqa: PLR0917
    first, second = photo_paths(landing, 2)
    known = {"photo_id": "known", "path": first}
    retry = {"photo_id": "retry", "path": MISSING}
    land(known, retry)
    job.main(settings)
    before = ages()
    assert {name: row["status"] for name, row in before.items()} == {"known": "scored", "retry": "unreadable"}
    counts = {"rows_in": 2, "rows_used": 1, "rows_quarantined": 1, "rows_duplicate": 0}
    assert report() | counts == report()
    shutil.copy(landing / first, landing / MISSING)
    land(known, retry, {"photo_id": "new", "path": second})
    (landing / first).unlink()  # its score is kept
    job.main(settings)
    assert {row["status"] for row in ages().values()} == {"scored"}
    assert ages()["known"] == before["known"]
    assert ages()["retry"]["age_years"] == before["known"]["age_years"] != ages()["new"]["age_years"]
    assert sessions == ["score_photos"] * 2


def test_a_run_without_new_photos_starts_no_spark_and_changes_no_row(landing, land, settings, sessions, ages):
    land(*({"photo_id": path, "path": path} for path in photo_paths(landing, 2)))
    job.main(settings)
    before = ages()
    sessions.clear()
    job.main(settings)
    assert (sessions, ages()) == ([], before)


def test_another_model_version_scores_all_photos_again(landing, land, settings, model_folder, tmp_path, ages):  # noqa: PLR0917
    land(*({"photo_id": path, "path": path} for path in photo_paths(landing, 2)))
    job.main(settings)
    other = shutil.copytree(model_folder, tmp_path / "other")
    card = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps({**card, "note": "a later model"}))
    job.main(Settings(business_date=DATE, landing=str(landing), warehouse=settings.warehouse, model=other))
    assert {row["model_version"] for row in ages().values()} == {version(other)} != {version(model_folder)}


@pytest.mark.parametrize("events", [[], [{"photo_id": "p1", "path": "../p1.jpg"}]], ids=["none", "none usable"])
def test_a_date_without_usable_photos_starts_no_spark_and_is_reported(land, settings, sessions, ages, report, events):  # noqa: PLR0917
    land(*events)
    job.main(settings)
    assert (sessions, ages()) == ([], {})
    counts = {"rows_in": len(events), "rows_used": 0, "rows_quarantined": len(events), "mean_age_years": None}
    assert report() | counts == report()


def test_unreadable_photos_are_counted_and_quarantined_beside_unusable_events(  # noqa: PLR0917
    landing, land, settings, sessions, ages, report, tmp_path
):
    good = photo_paths(landing, 11)
    (landing / "empty.jpg").touch()
    (landing / "link.jpg").symlink_to(tmp_path / "elsewhere.jpg")
    bad = {MISSING: "file_missing", "empty.jpg": "file_empty", "link.jpg": "path_outside_landing"}
    land(
        *({"photo_id": path, "path": path} for path in [*good, *bad]),
        {"photo_id": good[0], "path": good[0]},  # delivered twice
        {"photo_id": "outside", "path": "../p.jpg"},
        {"photo_id": None, "path": "a.jpg"},
    )
    job.main(settings)
    statuses = [row["status"] for row in ages().values()]
    assert (statuses.count("scored"), statuses.count("unreadable")) == (len(good), len(bad))
    assert {name: row["reason"] for name, row in ages().items() if row["status"] == "unreadable"} == bad
    counts = {"rows_in": 17, "rows_used": 11, "rows_quarantined": 5, "rows_duplicate": 1}
    assert report() | counts == report()
    quarantine = DeltaTable(tmp_path / "warehouse" / "restricted" / "quarantine").to_pyarrow_table().to_pylist()
    rejected = {**bad, "outside": "path_outside_landing", "?": "missing_value"}
    assert {row["key"]: row["reason"] for row in quarantine} == rejected
    known = [row["age_years"] for row in ages().values() if row["status"] == "scored"]
    assert report()["mean_age_years"] == pytest.approx(np.mean(known), abs=0.0006)
    assert sessions == ["score_photos"]


@pytest.mark.usefixtures("spark")
def test_a_run_uses_one_model_even_if_the_link_moves(  # noqa: PLR0917
    landing, land, model_folder, tmp_path, monkeypatch, ages, report
):
    first, second, link = (tmp_path / "store" / name for name in ("first", "second", "current"))
    for folder in (first, second):
        shutil.copytree(model_folder, folder)
    land(*({"photo_id": path, "path": path} for path in photo_paths(landing, 2)))
    card = json.loads((second / "model.json").read_text())
    (second / "model.json").write_text(json.dumps({**card, "note": "a later model"}))
    link.symlink_to("first")
    prepared = []

    def promote_and_prepare(model):
        prepared.append(model)
        link.unlink()
        link.symlink_to("second")
        return "cpu"

    monkeypatch.setattr(job.predict, "prepare", promote_and_prepare)
    job.main(Settings(business_date=DATE, landing=str(landing), warehouse=str(tmp_path / "warehouse"), model=link))
    assert report()["mean_age_years"] is None  # of fewer than ten photos
    assert {row["model_version"] for row in ages().values()} == {version(first)} != {version(second)}
    assert {row["status"] for row in ages().values()} == {"scored"}
    assert prepared == [first]  # so the package is stored beside the version, not beside the link


def test_a_model_that_cannot_score_is_reported_before_anything_is_written(chain, model_folder, tmp_path):
    model = shutil.copytree(model_folder, tmp_path / "age")
    card = json.loads((model / "model.json").read_text())
    card["network"]["std"] = [0, 0, 0]
    (model / "model.json").write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"std is .*; it must be three numbers between 0 and 1000"):
        job.main(
            Settings(
                business_date=DATE,
                landing=str(chain / "landing"),
                warehouse=str(tmp_path / "warehouse"),
                model=model,
            )
        )
    assert not (tmp_path / "warehouse").exists()
