"""Estimate the age of every checkout photo of one business date.

In: `photo_events` and the photos they name; `receipts`, for which stores there are. Out: `restricted/photo_ages`,
one row a photo, and quarantine.

- A photo is scored once by one model version: a second run takes over what the first wrote, and scores only what
  is new or was unreadable. A photo behind a `photo_id` is taken not to change.
- An event without an id, store, till, path or capture time, of a store that sold nothing that day, or whose path
  leaves the landing zone is set aside and its file never opened.
- A photo that can't be decoded is a row with status `unreadable`, and in quarantine.
"""

import datetime as dt
import errno
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain, islice
from math import ceil
from pathlib import Path

import pandas as pd
from pyarrow import fs
from pyspark import TaskContext
from pyspark.sql import (
    Column,
    DataFrame,
    functions as F,  # noqa: N812
)
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from jobs.tables import quarantine as quality, warehouse as tables
from jobs.tables.bands import DateSettings
from jobs.tables.landing import landing_files, open_filesystem
from jobs.tables.spark import check_java, spark_session
from model import predict
from model.cli import run
from model.predict import MAX_PHOTO_BYTES, PhotoScore, UnreadablePhotoError

PHOTOS_PER_TASK = 5_000
"""Bounds what a lost task costs: less than a minute of one core at 64 pixels."""

FAULTS_OF_THE_FILE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM)

SCORE = StructType(
    [
        StructField(name, StringType() if name in ("status", "reason", "detail") else DoubleType())
        for name in PhotoScore._fields
    ]
)


@dataclass(frozen=True, kw_only=True)
class Settings(DateSettings):
    """Flags of the job."""

    model: Path
    """Model folder, at the same path on every machine that scores."""


def path_is_safe(path: Column) -> Column:
    """Tell by its form whether a path stays in the landing zone: relative, no `..`, no empty part, no scheme."""
    unsafe = r"^~|^/|(^|/)\.{0,2}(/|$)|:/|[\\\x00-\x1f]|^\s*$"
    return F.is_valid_utf8(path) & ~path.rlike(unsafe) & (F.length(path) <= 1024)


def screen_events(events: DataFrame, stores: DataFrame, business_date: dt.date) -> DataFrame:
    """Mark the photo events that can't be used.

    Args:
        events: landing table `photo_events`.
        stores: `store_id` of every store that has a receipt on the date.
        business_date: the date.
    """
    known = stores.select("store_id", F.lit(True).alias("store_known")).dropDuplicates()
    detail = F.format_string("store %s has no receipt on the date", F.col("store_id"))
    return quality.screen(
        events.join(F.broadcast(known), on="store_id", how="left").select(*events.columns, "store_known"),
        "photo_events",
        [
            quality.missing_value("photo_id", "store_id", "till_id", "path"),
            quality.Defect("no_capture_time", F.col("captured_at").isNull(), F.lit("captured_at is null")),
            quality.off_date(business_date, "captured_at"),
            quality.Defect(
                "path_outside_landing",
                ~path_is_safe(F.col("path")),
                F.lit("path is not below the landing zone"),
            ),
            quality.Defect("unknown_store", F.col("store_known").isNull(), detail),
        ],
    )


def photo_reader(landing: str) -> Callable[[str], bytes]:
    """Return a function that reads a photo of the landing zone by its relative path.

    A file that is missing, no file, locked, too large or a link out of the landing zone raises UnreadablePhotoError.
    A store that can't be reached raises OSError, which fails the task: not a night of "missing" photos.
    """
    filesystem, root, _ = open_filesystem(landing)
    local_root = os.path.realpath(root) if isinstance(filesystem, fs.LocalFileSystem) else None

    def read(path: str) -> bytes:
        if local_root and not os.path.realpath(f"{root}/{path}").startswith(f"{local_root}/"):
            raise UnreadablePhotoError("path_outside_landing", "a link leads out of the landing zone")
        try:
            with filesystem.open_input_file(f"{root}/{path}") as file:
                size = file.size()
                if size > MAX_PHOTO_BYTES:
                    raise UnreadablePhotoError("file_too_large", f"{size} bytes")
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            raise UnreadablePhotoError("file_missing", "no such file") from None
        except OSError as error:
            if error.errno in FAULTS_OF_THE_FILE:
                raise UnreadablePhotoError("file_unreadable", os.strerror(error.errno)) from None
            if filesystem.get_file_info(f"{root}/{path}").type == fs.FileType.Directory:
                raise UnreadablePhotoError("file_unreadable", "a folder, not a file") from None
            raise

    return read


def age_scorer(landing: str, model: Path, version: str) -> Callable[[Column], Column]:
    """Build the pandas UDF that turns paths into scores. Photos stay in the worker: only paths and scores travel."""

    @pandas_udf(SCORE)  # type: ignore[call-overload, untyped-decorator]
    def score(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        context = TaskContext.get()
        gpu = context.resources().get("gpu") if context else None
        predictor = predict.shared(model, version, f"cuda:{gpu.addresses[0]}" if gpu else None)
        on_cpu = predictor.device.type == "cpu"
        n_threads = 2 if on_cpu else min(32, os.cpu_count() or 1)
        scores = predict.score_photos(
            predictor, chain.from_iterable(batches), photo_reader(landing), n_threads=n_threads
        )
        while rows := list(islice(scores, 1_000)):
            yield pd.DataFrame(rows, columns=list(SCORE.names))

    return score  # type: ignore[no-any-return]


def score_events(
    events: DataFrame, known: DataFrame, scorer: Callable[[Column], Column], version: str, n_tasks: int
) -> DataFrame:
    """Return photo ages of all events, with `detail`: those already known to this model version, and the rest scored.

    Args:
        events: usable photo events.
        known: `restricted/photo_ages` of the date, whatever model wrote it.
        scorer: from `age_scorer`.
        version: model version.
        n_tasks: partitions that the photos to score are spread over.
    """
    ages = ["age_years", "age_low", "age_high", "p_under_18", "p_under_25", "status", "reason"]
    same_model = (F.col("model_version") == version) & (F.col("status") == "scored")
    reusable = known.where(same_model).select("photo_id", *ages)
    event = ["photo_id", "store_id", "till_id", "captured_at"]
    reused = events.join(reusable, on="photo_id", how="inner").select(
        *event, *ages, F.lit(None).cast("string").alias("detail"), F.lit(False).alias("is_new")
    )
    # By hash of the id, so that the same photos meet in the same batches on every run.
    remaining = events.join(reusable, on="photo_id", how="left_anti").repartition(n_tasks, "photo_id")
    scored = remaining.withColumn("score", scorer(F.col("path"))).select(*event, "score.*", F.lit(True).alias("is_new"))
    hundredths = {name: F.round(F.col(name), 2) for name in ("age_years", "age_low", "age_high")}
    return reused.unionByName(scored.withColumns(hundredths)).withColumn("model_version", F.lit(version))


def main(settings: Settings) -> None:
    """Check, read, screen, score, write."""
    check_java()
    event_files = landing_files(settings.landing, "photo_events", settings.business_date)
    receipt_files = landing_files(settings.landing, "receipts", settings.business_date)
    model = settings.model.resolve()  # a promotion may move the link while we score
    version = predict.version(model)
    tables.check_warehouse(settings.warehouse)
    print(f"score_photos: model {version} on {predict.prepare(model)}", flush=True)
    spark = spark_session("score_photos")
    stores = tables.read_landing(spark, receipt_files, "receipts").select("store_id")
    screened = screen_events(
        tables.read_landing(spark, event_files, "photo_events"), stores, settings.business_date
    ).persist()
    counts = quality.count(screened)
    n_tasks = max(spark.sparkContext.defaultParallelism, ceil(counts["rows_used"] / PHOTOS_PER_TASK))
    known = tables.read_warehouse(spark, settings.warehouse, "restricted/photo_ages", settings.business_date)
    events = quality.used(screened, "photo_events")
    landing = settings.landing if "://" in settings.landing else str(Path(settings.landing).resolve())
    scorer = age_scorer(landing, model, version)
    scored = score_events(events, known, scorer, version, n_tasks).persist()
    unreadable = scored.where(F.col("status") == "unreadable")
    began = time.monotonic()
    n_scored, n_new, n_unreadable, mean_age = scored.agg(
        F.count_if(F.col("status") == "scored"),
        F.count_if(F.col("is_new")),
        F.count_if(F.col("status") == "unreadable"),
        F.round(F.mean("age_years"), 3),
    ).collect()[0]
    seconds = time.monotonic() - began
    counts["rows_used"] -= n_unreadable
    counts["rows_quarantined"] += n_unreadable
    rejected = quality.quarantine(screened, "photo_events").unionByName(
        unreadable.select(F.col("photo_id").alias("key"), "reason", "detail")
    )
    replace = partial(tables.replace, warehouse=settings.warehouse, business_date=settings.business_date)
    replace(rejected, name="restricted/quarantine", source_table="photo_events")
    # How many photos were new is printed, not kept: a second run must leave the same rows.
    report = {"photo_events": counts, "": {"mean_age_years": mean_age, "model_version": version}}
    quality.report(spark, settings.warehouse, "score_photos", settings.business_date, report)
    replace(scored, name="restricted/photo_ages")
    spark.catalog.clearCache()
    print(
        f"score_photos: {settings.business_date}, {n_new} scored in {seconds:.0f} s, {n_scored} have an age, {counts}"
    )


if __name__ == "__main__":
    run(main, Settings)
