"""The pairs of a true and an estimated age that `score_photos` writes for a date."""

import datetime as dt
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs import score_photos as job
from jobs.score_photos import Settings
from model import kernel

DATE = dt.date(2026, 11, 9)


@pytest.fixture
def run_date(chain, model_folder, tmp_path, capsys):
    """Score a date without photos with a copy of the model; returns `age_errors`, the report and the output."""
    landing = shutil.copytree(chain / "landing", tmp_path / "landing")
    (events,) = (landing / "photo_events").rglob("*.parquet")
    pq.write_table(pq.ParquetFile(events).read().slice(0, 0), events)

    def run(held_out, *, files=(), kernel_photos=None):
        model = shutil.copytree(model_folder, tmp_path / "age", dirs_exist_ok=True)
        for name, text in {"held_out.csv": held_out, **dict(files)}.items():
            (model / name).write_text(text)
        warehouse = tmp_path / "warehouse"
        job.main(
            Settings(
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
