import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from jobs.await_landing import Settings, check_night, main, missing_folders
from model.cli import InputError, TryAgainError
from model.release import checkpoint

DAY = date(2026, 11, 15)
COMPLETE = [
    "photo_events/business_date=2026-11-15/part-0.parquet",
    "receipts/business_date=2026-11-15/part-0.snappy.parquet",
    "receipt_lines/business_date=2026-11-15/part-0.parquet",
    "products/products.parquet",
]


@pytest.fixture
def landing(tmp_path):
    """Create a landing zone with the given files, all empty."""

    def make(paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()
        return tmp_path

    return make


def missing(landing_root):
    return missing_folders(str(landing_root), DAY)


def test_nothing_is_missing_when_each_table_has_a_file_for_the_date(landing):
    assert missing(landing(COMPLETE)) == []


@pytest.mark.parametrize("absent", range(4))
def test_a_table_without_a_file_for_the_date_is_missing(landing, absent):
    assert missing(landing(COMPLETE[:absent] + COMPLETE[absent + 1 :])) == [COMPLETE[absent].rpartition("/")[0]]


def test_all_four_tables_are_missing_in_an_empty_landing_zone(landing):
    assert len(missing(landing([]))) == 4


@pytest.mark.parametrize(
    "ignored",
    [
        "receipts/business_date=2026-11-14/part-0.parquet",
        "receipts/part-0.parquet",
        "receipts/business_date=2026-11-15/_SUCCESS",
        "receipts/business_date=2026-11-15/_part-0.parquet",
        "receipts/business_date=2026-11-15/.part-0.parquet",
        "receipts/business_date=2026-11-15/_temporary/part-0.parquet",
    ],
)
def test_a_file_that_no_job_reads_does_not_count(landing, ignored):
    root = landing([ignored, *(path for path in COMPLETE if not path.startswith("receipts/"))])
    assert missing(root) == ["receipts/business_date=2026-11-15"]


@pytest.mark.parametrize("write", [str, lambda root: f"{root}/", lambda root: root.as_uri()])
def test_the_landing_zone_can_be_a_path_or_a_uri(landing, write):
    assert missing(write(landing(COMPLETE))) == []


@pytest.mark.parametrize("ending", ["tmp", "part", "_COPYING_"])
def test_a_table_is_missing_while_a_file_is_unfinished(landing, ending):
    root = landing([*COMPLETE, f"receipts/business_date=2026-11-15/part-1.parquet.{ending}"])
    assert missing(root) == [f"receipts/business_date=2026-11-15 (unfinished: part-1.parquet.{ending})"]


@pytest.mark.parametrize("stray", ["store=2/part-1.parquet", "part-1.csv"])
def test_an_entry_that_no_job_reads_is_an_error_at_once(landing, stray):
    root = landing([*COMPLETE, f"receipts/business_date=2026-11-15/{stray}"])
    with pytest.raises(InputError, match=stray.partition("/")[0]):
        missing(root)


def test_unreachable_storage_means_retry(monkeypatch):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    unreachable = "s3a://key:secret@chain/landing?endpoint_override=127.0.0.1:9&scheme=http&region=eu-west-1"
    with pytest.raises(TryAgainError, match="no answer"):
        main(Settings(business_date=DAY, landing=unreachable))


@pytest.mark.parametrize("wrong", ["nowhere", "ftp://chain/landing", "file://landing", "''"])
def test_the_error_for_an_invalid_landing_zone_names_it(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=wrong):
        missing_folders(wrong.strip("'"), DAY)


@pytest.mark.parametrize(("files", "exit_code"), [(COMPLETE, 0), (COMPLETE[1:], 75)])
def test_the_exit_code_tells_the_sensor_whether_to_wait(landing, files, exit_code):
    program = [sys.executable, "-m", "jobs.await_landing", "--business-date", str(DAY)]
    done = subprocess.run([*program, "--landing", landing(files)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (exit_code, "")
    assert ("photo_events/business_date=2026-11-15" in done.stdout) == (exit_code == 75)


NOON = datetime(2026, 11, 15, 12, tzinfo=UTC)


def night(tmp_path, **flags):
    return Settings(landing=str(tmp_path), **{"business_date": DAY, **flags})


def test_a_date_is_future_when_it_has_begun_nowhere(tmp_path):
    check_night(night(tmp_path, business_date=date(2026, 11, 16)), NOON)  # UTC+14 is two hours into the next day
    with pytest.raises(InputError, match="--business-date 2026-11-17 is in the future"):
        check_night(night(tmp_path, business_date=date(2026, 11, 17)), NOON)
    with pytest.raises(InputError, match="--business-date 9999-12-31 is not between"):
        check_night(night(tmp_path, business_date=date.max), NOON)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"warehouse": "/proc/warehouse"}, "warehouse /proc/warehouse can't be written to"),
        ({"warehouse": ""}, "--warehouse '' is empty"),
        ({"age_bands": ("18-29",)}, "age_bands is 18-29: 18-29 begins at 18, it must begin at 0"),
        ({"model": Path("/nowhere")}, "/nowhere is not a model folder"),
    ],
)
def test_what_waiting_does_not_change_is_checked_at_once(tmp_path, flags, message):
    with pytest.raises(InputError, match=message):
        check_night(night(tmp_path, **flags), NOON)


def test_a_model_that_cannot_score_is_reported_at_once(tmp_path, model_folder):
    checkpoint.save(tmp_path / "age", checkpoint.load(model_folder), {}, {"calibration.json": "{}"})
    with pytest.raises(InputError, match=r"calibration\.json can't be used: it lacks the entry calibration"):
        check_night(night(tmp_path, model=tmp_path / "age"), NOON)


def test_java_is_checked_at_once_if_a_warehouse_is_given(tmp_path, monkeypatch):
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    check_night(night(tmp_path), NOON)
    with pytest.raises(InputError, match="Spark needs Java 17 or 21"):
        check_night(night(tmp_path, warehouse=str(tmp_path / "warehouse")), NOON)


def test_a_night_that_can_run_passes(tmp_path, model_folder):
    check_night(night(tmp_path, warehouse=str(tmp_path / "warehouse"), model=model_folder), NOON)
