import subprocess
import sys
from datetime import date

import pytest

from jobs.await_landing import Settings, main, missing_folders
from model.cli import InputError

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
        "receipts/business_date=2026-11-15/part-0.parquet.tmp",
    ],
)
def test_a_file_that_no_job_reads_does_not_count(landing, ignored):
    root = landing([ignored, *(path for path in COMPLETE if not path.startswith("receipts/"))])
    assert missing(root) == ["receipts/business_date=2026-11-15"]


@pytest.mark.parametrize("write", [str, lambda root: f"{root}/", lambda root: root.as_uri()])
def test_the_landing_zone_can_be_a_path_or_a_uri(landing, write):
    assert missing(write(landing(COMPLETE))) == []


def test_unreachable_storage_means_retry(monkeypatch, capsys):
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    unreachable = "s3a://key:secret@chain/landing?endpoint_override=127.0.0.1:9&scheme=http&region=eu-west-1"
    with pytest.raises(SystemExit, match="75"):
        main(Settings(business_date=DAY, landing=unreachable))
    assert "no answer" in capsys.readouterr().err


@pytest.mark.parametrize("wrong", ["nowhere", "ftp://chain/landing", "file://landing"])
def test_the_error_for_an_invalid_landing_zone_names_it(tmp_path, monkeypatch, wrong):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=wrong):
        missing_folders(wrong, DAY)


@pytest.mark.parametrize(("files", "exit_code"), [(COMPLETE, 0), (COMPLETE[1:], 75)])
def test_the_exit_code_tells_the_sensor_whether_to_wait(landing, files, exit_code):
    program = [sys.executable, "-m", "jobs.await_landing", "--business-date", str(DAY)]
    done = subprocess.run([*program, "--landing", landing(files)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (exit_code, "")
    assert ("photo_events/business_date=2026-11-15" in done.stdout) == (exit_code == 75)
