"""Estimate the age of every checkout photo of one business date.

In: `photo_events` and their photos; `receipts`, for the known stores. Out: `restricted/photo_ages`, one row for each
photo; `restricted/age_errors`, the pairs of a true and an estimated age from which the errors of the model are known;
and quarantine.

- A second run with the same model version scores only photos that are new or were unreadable, and keeps the other
  scores. A `photo_id` always refers to the same image.
- An event goes to quarantine, and its file is not opened, if it has no id, store, till, path or capture time, if its
  store has no receipt on the date, or if its path is outside the landing zone.
- Of the usable events with the same path, the earliest is used; the others go to quarantine.
- A photo has a row with status `unreadable` and is in quarantine if its file is missing, no regular file, can't be read
  or decoded, is too large, or is a link out of the landing zone.
- The pairs are those of the model's held-out photos, or of `--kernel-photos`. These are scored each time: 10 s for
  1,000 photos on a CPU. A model folder without readable held-out photos has no pairs, and affinity indices of the date
  are not corrected.
- The mean age of fewer than ten photos is not reported, because it tells the age of a person.
"""

import datetime as dt
import errno
import os
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyarrow import fs
from pyspark import TaskContext
from pyspark.sql import Column, DataFrame, functions as F
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from jobs.tables import quarantine
from jobs.tables.landing import Place
from jobs.tables.night import LandingSettings, Night
from jobs.tables.schemas import WAREHOUSE
from model import age_errors, predict
from model.age_errors import AgeErrors
from model.cli import run
from model.predict import MAX_PHOTO_BYTES, PhotoScore, UnreadablePhotoError

PHOTOS_PER_TASK = 5_000
"""Limits the loss when a task fails: less than a minute of one core at 64 pixels."""

MIN_PHOTOS_OF_MEAN = 10
"""A mean age of fewer photos is not reported."""

FAULTS_OF_THE_FILE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)

SCORE = StructType(
    [
        StructField(name, StringType() if name in ("status", "reason", "detail") else DoubleType())
        for name in PhotoScore._fields
    ]
)


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of the job."""

    model: Path
    """Model folder, at the same path on all machines."""
    kernel_photos: Path | None = None
    """Labelled set (labels.csv, final_files/) of photos from the chain's own tills, by which the errors of the ages are
    measured. Default: the photos that the model held out."""


def path_is_safe(path: Column) -> Column:
    """Check that a path is below the landing zone by its text: relative, no `..`, no empty part, no scheme."""
    unsafe = r"^~|^/|(^|/)\.{0,2}(/|$)|:/|[\\\x00-\x1f]|^\s*$"
    return F.is_valid_utf8(path) & ~path.rlike(unsafe) & (F.length(path) <= 1024)


def screen_events(events: DataFrame, stores: DataFrame, business_date: dt.date) -> DataFrame:
    """Mark the photo events that can't be used, with a reason.

    Args:
        events: landing table `photo_events`.
        stores: `store_id` of every store that has a receipt on the date.
        business_date: the date.
    """
    known = stores.select("store_id", F.lit(True).alias("store_known")).dropDuplicates()
    detail = F.format_string("store %s has no receipt on the date", F.col("store_id"))
    screened = quarantine.screen(
        events.join(F.broadcast(known), on="store_id", how="left").select(*events.columns, "store_known"),
        "photo_events",
        [
            quarantine.missing_value("photo_id", "store_id", "till_id", "path"),
            quarantine.Defect("no_capture_time", F.col("captured_at").isNull(), F.lit("captured_at is null")),
            quarantine.off_date(business_date, "captured_at"),
            quarantine.Defect(
                "path_outside_landing",
                ~path_is_safe(F.col("path")),
                F.lit("path is not below the landing zone"),
            ),
            quarantine.Defect("unknown_store", F.col("store_known").isNull(), detail),
        ],
    )
    return quarantine.reject_repeated(screened, "path", key="photo_id", order=["captured_at"])


def photo_reader(landing: Place) -> Callable[[str], bytes]:
    """Return a function that reads a photo of the landing zone by its relative path.

    The function raises UnreadablePhotoError if the file is missing, not a file, locked, too large or a link to outside
    the landing zone. It raises OSError, which fails the task, if the storage can't be reached; otherwise the job would
    report all photos as missing.
    """
    filesystem, root = landing.filesystem, landing.path
    local_root = os.path.realpath(root) if isinstance(filesystem, fs.LocalFileSystem) else None

    def read(path: str) -> bytes:
        try:
            if local_root:
                return _read_local(local_root, path)
            with filesystem.open_input_file(f"{root}/{path}") as file:
                _check_size(file.size())
                content: bytes = file.read()
                return content
        except FileNotFoundError:
            raise UnreadablePhotoError("file_missing", "no such file") from None
        except OSError as error:
            if error.errno in FAULTS_OF_THE_FILE:
                raise UnreadablePhotoError("file_unreadable", os.strerror(error.errno)) from None
            if not local_root and filesystem.get_file_info(f"{root}/{path}").type == fs.FileType.Directory:
                raise UnreadablePhotoError("file_unreadable", "a folder, not a file") from None
            raise

    return read


def _read_local(root: str, path: str) -> bytes:
    """Read a file below `root`, which has no links. Whoever fills the landing zone may change the file meanwhile."""
    real = os.path.realpath(f"{root}/{path}")
    if not real.startswith(f"{root}/"):
        raise UnreadablePhotoError("path_outside_landing", "a link leads out of the landing zone")
    # Checked before it is opened, because opening a FIFO or a device has effects, and once more as opened.
    _check_regular(Path(real).stat())
    descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123  pathlib opens no descriptors
        _check_regular(os.fstat(descriptor))
        return file.read(MAX_PHOTO_BYTES + 1)


def _check_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe, socket or device"
        raise UnreadablePhotoError("file_unreadable", f"{kind}, not a file")
    _check_size(status.st_size)


def _check_size(n_bytes: int) -> None:
    if n_bytes > MAX_PHOTO_BYTES:
        raise UnreadablePhotoError("file_too_large", f"{n_bytes} bytes")


def age_scorer(landing: Place, model: Path, version: str) -> Callable[[Column], Column]:
    """Return the pandas UDF from paths to scores. Workers read the photos; Spark sends only paths and scores."""

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
    """Return the photo ages of all events, with `detail` and `is_new`: known scores of this model version and new ones.

    Args:
        events: usable photo events.
        known: `restricted/photo_ages` of the date, all model versions.
        scorer: from `age_scorer`.
        version: model version.
        n_tasks: number of Spark tasks for the new photos.
    """
    ages = ["age_years", "age_low", "age_high", "p_under_18", "p_under_25", "status", "reason"]
    same_model = (F.col("model_version") == version) & (F.col("status") == "scored")
    reusable = known.where(same_model).select("photo_id", *ages)
    event = ["photo_id", "store_id", "till_id", "captured_at"]
    reused = events.join(reusable, on="photo_id", how="inner").select(
        *event, *ages, F.lit(None).cast("string").alias("detail"), F.lit(False).alias("is_new")
    )
    # Partitioned by the id, so that every run has the same photos in the same batches.
    remaining = events.join(reusable, on="photo_id", how="left_anti").repartition(n_tasks, "photo_id")
    scored = remaining.withColumn("score", scorer(F.col("path"))).select(*event, "score.*", F.lit(True).alias("is_new"))
    rounded = {name: F.round(F.col(name), 2) for name in ("age_years", "age_low", "age_high")}
    return reused.unionByName(scored.withColumns(rounded)).withColumn("model_version", F.lit(version))


def error_rows(errors: AgeErrors) -> pa.Table:
    """Return the rows of `restricted/age_errors`: one for each pair."""
    sources = [errors.source] * len(errors.true_years)
    columns = [sources, errors.true_years, errors.estimated_years]
    return pa.table(columns, names=["source", "age_years", "estimated_years"]).cast(
        WAREHOUSE["restricted/age_errors"].row_schema
    )


def mean_age_years() -> Column:
    """Return the aggregate of `age_years`: its mean, years, or null if fewer than `MIN_PHOTOS_OF_MEAN` are scored."""
    return F.when(F.count("age_years") >= MIN_PHOTOS_OF_MEAN, F.round(F.mean("age_years"), 3))


def main(settings: Settings) -> None:
    """Run the job."""
    model = settings.model.resolve()  # a promotion can move the link during the run
    version = predict.check(model)
    with Night(settings, "score_photos", landing_tables=["photo_events", "receipts"]) as night:
        print(f"score_photos: model {version} on {predict.prepare(model)}", flush=True)
        errors = age_errors.read(model, settings.kernel_photos)
        print(f"score_photos: {errors.summary}", flush=True)
        stores = night.landing("receipts").select("store_id")
        screened = screen_events(night.landing("photo_events"), stores, night.date).persist()
        events, known = quarantine.used(screened, "photo_events"), night.read("restricted/photo_ages")
        n_tasks = max(night.spark.sparkContext.defaultParallelism, ceil(events.count() / PHOTOS_PER_TASK))
        scored = score_events(events, known, age_scorer(night.place, model, version), version, n_tasks).persist()
        started = time.monotonic()
        # Printed and not stored, because a second run must write the same rows.
        n_new, mean_age = scored.agg(F.count_if("is_new"), mean_age_years()).collect()[0]
        print(f"score_photos: {night.date}, {n_new} scored in {time.monotonic() - started:.0f} s", flush=True)
        unreadable = scored.where("status = 'unreadable'").select(F.col("photo_id").alias("key"), "reason", "detail")
        night.set_aside("photo_events", screened, unreadable)
        night.measure(mean_age_years=mean_age, model_version=version, n_age_errors=len(errors.true_years))
        if errors.version:
            night.measure(kernel_version=errors.version)
        night.replace("restricted/age_errors", error_rows(errors))
        night.replace("restricted/photo_ages", scored)


if __name__ == "__main__":
    run(main, Settings)
