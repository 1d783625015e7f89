import datetime as dt
import threading
import time

import pytest
from deltalake import DeltaTable
from pyspark.sql import functions as F  # noqa: N812

from jobs.tables import warehouse as tables
from model.cli import InputError

NAME = "restricted/daily_counts"
DATE, NEXT = dt.date(2026, 11, 9), dt.date(2026, 11, 10)


def items(spark, warehouse, first, last=None):
    frame = tables.read_warehouse(spark, str(warehouse), NAME, first, last)
    return sorted((row.business_date.day, row.item) for row in frame.collect())


def test_a_date_is_replaced_and_the_others_stay(spark, rows, tmp_path):
    assert items(spark, tmp_path, DATE) == []
    tables.replace(rows(NAME, {"item": "a"}, {"item": "b"}), str(tmp_path), NAME, DATE)
    tables.replace(rows(NAME, {"item": "c"}), str(tmp_path), NAME, NEXT)
    tables.replace(rows(NAME, {"item": "d"}), str(tmp_path), NAME, DATE)
    assert items(spark, tmp_path, DATE, NEXT) == [(9, "d"), (10, "c")]
    assert items(spark, tmp_path, NEXT) == [(10, "c")]
    assert list((tmp_path / "restricted" / "_staging").iterdir()) == []


def test_no_rows_clear_the_date(spark, rows, tmp_path):
    tables.replace(rows(NAME, {}), str(tmp_path), NAME, DATE)
    tables.replace(rows(NAME), str(tmp_path), NAME, DATE)
    assert items(spark, tmp_path, DATE) == []
    assert DeltaTable(tmp_path / NAME).version() == 1


def test_one_part_of_a_date_is_replaced_and_the_others_stay(spark, rows, tmp_path):
    def quarantine(table: str, *keys: str) -> None:
        frame = rows("restricted/quarantine", *({"key": key} for key in keys))
        tables.replace(frame, str(tmp_path), "restricted/quarantine", DATE, source_table=table)

    quarantine("receipts", "r1", "r2")
    quarantine("products", "p1")
    quarantine("receipts", "r3")
    found = tables.read_warehouse(spark, str(tmp_path), "restricted/quarantine", DATE).collect()
    assert {(row.source_table, row.key) for row in found} == {("receipts", "r3"), ("products", "p1")}


def test_types_that_delta_would_cast_in_silence_are_refused(rows, tmp_path):
    text = rows(NAME, {}).withColumn("n_receipts", F.lit("10"))
    with pytest.raises(ValueError, match=r"n_receipts', 'string'.*wanted.*n_receipts', 'bigint'"):
        tables.replace(text, str(tmp_path), NAME, DATE)
    with pytest.raises(ValueError, match="is replaced by"):
        tables.replace(rows(NAME, {}), str(tmp_path), NAME, DATE, source_table="receipts")
    assert not (tmp_path / NAME).exists()


def test_of_two_writers_of_one_date_one_is_refused_and_the_other_is_whole(spark, rows, tmp_path, monkeypatch):
    both_read = threading.Barrier(2)
    write = tables.write_deltalake

    def write_together(uri, *args, **kwargs):
        table = DeltaTable(uri)  # the version that both writers set out from
        both_read.wait(timeout=60)
        return write(table, *args, **{**kwargs, "partition_by": None})

    tables.replace(rows(NAME, {"item": "before"}), str(tmp_path), NAME, DATE)
    monkeypatch.setattr(tables, "write_deltalake", write_together)
    frames = {writer: rows(NAME, *({"item": f"{writer}{i}"} for i in range(1000))) for writer in "xy"}
    refused = {}

    def replace(writer: str) -> None:
        try:
            tables.replace(frames[writer], str(tmp_path), NAME, DATE)
        except RuntimeError as error:
            refused[writer] = str(error)

    threads = [threading.Thread(target=replace, args=(writer,)) for writer in frames]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    left = items(spark, tmp_path, DATE)
    winners = {item[0] for _, item in left}
    assert len(left) == 1000
    assert len(winners) == len(refused) == 1
    assert winners | set(refused) == {"x", "y"}
    assert "another writer replaced it meanwhile" in "".join(refused.values())


def test_what_a_killed_job_left_is_removed_a_day_later(rows, tmp_path):
    now = int(time.time())
    began = (now - 2 * tables.STAGING_MAX_AGE_SECONDS, now)
    old, new = (tmp_path / "restricted" / "_staging" / f"restricted.photo_ages-{when}-0a1b" for when in began)
    for folder in (old, new):
        folder.mkdir(parents=True)
    tables.replace(rows(NAME, {}), str(tmp_path), NAME, DATE)
    assert list((tmp_path / "restricted" / "_staging").iterdir()) == [new]


def test_a_warehouse_that_cannot_be_written_to_is_refused_and_a_good_one_left_as_it_was(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="file/warehouse can't be written to"):
        tables.check_warehouse(str(tmp_path / "file" / "warehouse"))
    tables.check_warehouse(str(tmp_path / "new"))
    assert list((tmp_path / "new").iterdir()) == []


def test_a_job_wants_the_one_before_it_to_have_run(rows, tmp_path):
    with pytest.raises(InputError, match="score_photos has not run for 2026-11-09"):
        tables.require_run(str(tmp_path), "score_photos", DATE)
    quality = rows("analytics/run_quality", {"measure": "rows_in"})
    tables.replace(quality, str(tmp_path), "analytics/run_quality", DATE, job="score_photos")
    tables.require_run(str(tmp_path), "score_photos", DATE)
    for job, date in (("match_receipts", DATE), ("score_photos", NEXT)):
        with pytest.raises(InputError, match=f"{job} has not run for {date}"):
            tables.require_run(str(tmp_path), job, date)
