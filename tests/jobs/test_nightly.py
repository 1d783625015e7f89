"""The whole night on a small chain: results, a second run, killed jobs and wrong input."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from jobs import match_receipts, nightly, sample_chain
from jobs.tables.duck import connect
from jobs.tables.schemas import LANDING, WAREHOUSE
from model.cli import InputError, run

DATE = sample_chain.Settings.first_date

REASONS = {
    "truncated_jpeg": "truncated",
    "empty_file": "file_empty",
    "not_an_image": "not_an_image",
    "file_missing": "file_missing",
    "decompression_bomb_30000x30000": "too_many_pixels",
    "path_leaves_the_landing_zone": "path_outside_landing",
    "unknown_store": "unknown_store",
    "no_capture_time": "no_capture_time",
    "photo_named_by_another_event": "path_repeated",
    "unknown_product": "product_unknown",
    "line_without_receipt": "receipt_unknown",
    "closes_before_it_opens": "closes_before_it_opens",
}
HARMLESS = {"png_named_jpg_still_readable", "grayscale_still_readable", "return_negative_quantity"}
DUPLICATE = {
    "photo_event_delivered_twice": "photo_events",
    "receipt_delivered_twice": "receipts",
    "line_delivered_twice": "receipt_lines",
}


def flags(chain: Path, warehouse: Path, model: Path) -> nightly.Settings:
    return nightly.Settings(
        business_date=(DATE,), landing=str(chain / "landing"), warehouse=str(warehouse), model=model
    )


def contents(warehouse: Path) -> dict[str, list]:
    """Return all rows of all tables."""
    with connect(str(warehouse), restricted=True) as connection:
        return {
            name: sorted(connection.sql(f"FROM {name.replace('/', '.')}").fetchall(), key=str) for name in WAREHOUSE
        }


def partitions(warehouse: Path) -> dict[tuple, list]:
    """Return the rows of each partition that has some, by table and values."""
    found = defaultdict(list)
    for name, rows in contents(warehouse).items():
        columns = [WAREHOUSE[name].schema.names.index(column) for column in WAREHOUSE[name].partition_by]
        for row in rows:
            found[name, *(row[column] for column in columns)].append(row)
    return found


@pytest.fixture(scope="module")
def night(spark, chain, model_folder, tmp_path_factory) -> Path:
    warehouse = tmp_path_factory.mktemp("warehouse")
    assert spark  # the night uses this session
    nightly.main(flags(chain, warehouse, model_folder))
    return warehouse


@pytest.fixture(scope="module")
def auditor(night) -> Iterator[duckdb.DuckDBPyConnection]:
    with connect(str(night), restricted=True) as connection:
        yield connection


def test_every_blemish_is_quarantined_with_its_reason_or_used(auditor, chain):
    blemishes = json.loads((chain / "truth" / "blemishes.json").read_text())
    assert set(blemishes) == REASONS.keys() | HARMLESS | DUPLICATE.keys()
    counts = dict(auditor.sql("SELECT reason, count(*) FROM restricted.quarantine GROUP BY ALL").fetchall())
    expected = {reason: len(blemishes[kind]) for kind, reason in REASONS.items()}
    assert counts == expected
    duplicates = dict(
        auditor.sql(
            "SELECT source_table, value FROM analytics.run_quality WHERE measure = 'rows_duplicate' AND value > 0"
        ).fetchall()
    )
    assert duplicates == {table: len(blemishes[kind]) for kind, table in DUPLICATE.items()}


def test_photos_in_unusual_but_readable_formats_have_an_age(auditor, chain):
    blemishes = json.loads((chain / "truth" / "blemishes.json").read_text())
    for kind in ("png_named_jpg_still_readable", "grayscale_still_readable"):
        for path in blemishes[kind]:
            age = "SELECT age_years FROM restricted.photo_ages WHERE photo_id = ? AND status = 'scored'"
            assert auditor.execute(age, [Path(path).stem]).fetchall()


def test_every_row_of_a_source_table_is_used_quarantined_or_duplicate(auditor, chain):
    counts: dict[str, dict[str, float]] = {}
    for table, measure, value in auditor.sql(
        "SELECT source_table, measure, value FROM analytics.run_quality WHERE source_table <> ''"
    ).fetchall():
        counts.setdefault(table, {})[measure] = value
    landed = {
        table: sum(pq.read_metadata(file).num_rows for file in (chain / "landing" / table).rglob("*.parquet"))
        for table in LANDING
    }
    assert {table: measures["rows_in"] for table, measures in counts.items()} == landed
    for measures in counts.values():
        assert measures["rows_in"] == sum(measures[f"rows_{part}"] for part in ("used", "quarantined", "duplicate"))


def test_photos_are_matched_to_their_true_receipts(auditor, chain):
    auditor.register("truth", pacsv.read_csv(chain / "truth" / "ages.csv"))
    right, matched = auditor.sql(
        """SELECT count_if(truth.receipt_id = ages.receipt_id), count(*)
           FROM (SELECT receipt_id, unnest(photo_ids) AS photo_id FROM restricted.receipt_ages) AS ages
           JOIN truth USING (photo_id)"""
    ).fetchall()[0]
    assert matched > 100
    assert right == matched


def test_a_second_run_scores_only_unreadable_photos_and_changes_no_row(night, chain, model_folder, capsys):
    before = contents(night)
    nightly.main(flags(chain, night, model_folder))
    statuses = DeltaTable(night / "restricted" / "photo_ages").to_pyarrow_table()["status"].to_pylist()
    assert f"{statuses.count('unreadable')} scored in " in capsys.readouterr().out
    assert contents(night) == before


def program(module: str, *arguments: object, **options) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", f"jobs.{module}", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **options,
    )


def date_flags(landing: Path, warehouse: Path) -> list[object]:
    return ["--business-date", DATE, "--landing", landing, "--warehouse", warehouse]


@pytest.fixture
def landing(chain, tmp_path) -> Path:
    """A copy of the landing zone without photos."""
    return shutil.copytree(chain / "landing", tmp_path / "landing", ignore=shutil.ignore_patterns("photos"))


def test_a_job_killed_while_it_writes_leaves_whole_rows_and_can_be_run_again(  # noqa: PLR0917
    night, chain, landing, model_folder, tmp_path, monkeypatch, wait_until
):
    """A real process; tests/jobs/faults kills each job at each write."""
    warehouse, scratch = shutil.copytree(night, tmp_path / "warehouse"), tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    before = contents(night)
    reports = warehouse / "analytics" / "run_quality" / "_delta_log"
    n_commits = len(list(reports.iterdir()))
    file = next((landing / "receipts").rglob("*.parquet"))
    receipts = pq.ParquetFile(file).read()
    pq.write_table(receipts.slice(len(receipts) // 2), file)  # the job writes other rows than before
    job = program("match_receipts", *date_flags(landing, warehouse))
    wait_until(lambda: len(list(reports.iterdir())) > n_commits or job.poll() is not None)  # it withdraws its report
    os.killpg(job.pid, signal.SIGKILL)
    _, errors = job.communicate()
    assert job.returncode == -signal.SIGKILL, errors
    wait_until(lambda: not list(scratch.iterdir()))
    done = shutil.copytree(night, tmp_path / "done")
    match_receipts.main(match_receipts.Settings(business_date=DATE, landing=str(landing), warehouse=str(done)))
    earlier, killed, later = map(partitions, (night, warehouse, done))
    report, ages = ("analytics/run_quality", DATE, "match_receipts"), ("restricted/receipt_ages", DATE)
    assert report not in killed
    assert earlier[ages] != later[ages]
    for part in (earlier.keys() | killed.keys() | later.keys()) - {report}:
        assert killed[part] in (earlier[part], later[part]), part
    match_receipts.main(flags(chain, warehouse, model_folder).of(match_receipts, DATE))
    after = contents(warehouse)
    for name in ("restricted/receipt_ages", "restricted/quarantine", "restricted/photo_ages"):
        assert after[name] == before[name]


def wrong_type(landing: Path, _: Path) -> None:
    file = next((landing / "receipts").rglob("*.parquet"))
    receipts = pq.ParquetFile(file).read()
    text = receipts["id_checked"].cast("string")
    pq.write_table(receipts.set_column(receipts.column_names.index("id_checked"), "id_checked", text), file)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda landing, _: shutil.rmtree(landing / "receipt_lines"), "receipt_lines of 2026-11-09 is missing"),
        (wrong_type, "column id_checked is string"),
        (lambda _, model: shutil.rmtree(model), "is not a model folder"),
        (lambda _, model: (model / "weights.safetensors").write_bytes(b"x"), "weights.safetensors has hash"),
    ],
    ids=["missing date", "wrong type", "no model", "other weights"],
)
def test_wrong_input_stops_the_night_before_anything_is_written(landing, model_folder, tmp_path, spoil, message):
    model, warehouse = shutil.copytree(model_folder, tmp_path / "model"), tmp_path / "warehouse"
    spoil(landing, model)
    with pytest.raises(InputError, match=message):
        nightly.main(
            nightly.Settings(business_date=(DATE,), landing=str(landing), warehouse=str(warehouse), model=model)
        )
    assert not warehouse.exists()


def test_nightly_has_each_flag_of_its_steps_once():
    defaults = {field.name: field.default for step in nightly.STEPS for field in dataclasses.fields(step.Settings)}
    assert {field.name: field.default for field in dataclasses.fields(nightly.Settings)} == defaults


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        (match_receipts, "--warehouse /proc/warehouse", "error: warehouse /proc/warehouse can't be written to"),
        (match_receipts, "--grace-seconds 301", "error: grace_seconds is 301.0; it must be between 0 and 300"),
        (match_receipts, "--business-date 9.11.2026", "--business-date: Invalid isoformat string: '9.11.2026'"),
        (nightly, "--model model --business-date", "error: business_date has no date; wanted one or more"),
        (
            nightly,
            "--model model --age-bands under_18 20_plus",
            "error: age_bands is under_18 20_plus: 20_plus begins at 20",
        ),
    ],
    ids=["unwritable", "out of range", "date form", "no date", "gap between bands"],
)
def test_a_wrong_flag_gives_a_readable_error_and_exit_code_2(  # noqa: PLR0917
    chain, tmp_path, monkeypatch, capsys, module, arguments, message
):
    given = [*map(str, date_flags(chain / "landing", tmp_path / "warehouse")), *arguments.split()]
    monkeypatch.setattr(sys, "argv", [module.__name__, *given])
    with pytest.raises(SystemExit) as end:
        run(module.main, module.Settings)
    output, errors = capsys.readouterr()
    assert (end.value.code, output) == (2, "")
    assert message in errors
    assert len(errors.splitlines()) <= 10
    assert not (tmp_path / "warehouse").exists()


@pytest.fixture
def without_java(tmp_path) -> dict[str, str]:
    """An environment whose only programs are those of Python, with an empty folder for temporary files."""
    (tmp_path / "scratch").mkdir()
    path = str(Path(sys.executable).parent)
    return os.environ | {"JAVA_HOME": str(tmp_path), "PATH": path, "TMPDIR": str(tmp_path / "scratch")}


def test_missing_java_gives_a_readable_error(landing, model_folder, tmp_path, without_java):
    given = date_flags(landing, tmp_path / "warehouse")
    job = program("score_photos", *given, "--model", model_folder, env=without_java)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 2, errors
    assert "error: Spark needs Java 17 or 21" in errors
    assert "Traceback" not in errors
    assert not (tmp_path / "warehouse").exists()


@pytest.mark.parametrize("name", ["match_receipts", "count_purchases"])
def test_a_job_that_only_matches_or_counts_needs_no_java(night, landing, tmp_path, without_java, name):
    warehouse = shutil.copytree(night, tmp_path / "warehouse")
    job = program(name, *date_flags(landing, warehouse), env=without_java)
    output, errors = job.communicate(timeout=120)
    assert job.returncode == 0, errors
    assert output.startswith(f"{name}: 2026-11-09, ")
    assert list((tmp_path / "scratch").iterdir()) == []


def test_a_job_that_only_matches_or_counts_imports_neither_spark_nor_torch():
    program = "import sys, jobs.match_receipts, jobs.count_purchases; print({'pyspark', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
