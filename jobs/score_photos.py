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
- A task uses the GPU that Spark has assigned to it. If CUDA can't use that one, the CPU scores, and the job says so.
"""

import errno
import os
import re
import socket
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice
from math import ceil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import fs
from pyspark import TaskContext
from pyspark.sql import Column, SparkSession
from pyspark.sql.pandas.functions import pandas_udf
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import DoubleType, StringType, StructField, StructType

from jobs.tables.landing import Place
from jobs.tables.night import LandingSettings, Measure, Night
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.spark import check_java, check_worker_python, spark_session
from model import age_errors, predict
from model.age_errors import AgeErrors
from model.cli import run
from model.predict import MAX_PHOTO_BYTES, PhotoScore, UnreadablePhotoError

BATCH = 256
"""Photos. The number of a task is a multiple, so that the network's batches, of 32 or 256, are full."""

N_TASKS = 64
"""Tasks, or down to half as many, from 16,000 to 330,000 photos, so that a slot that is late does not hold up the
others. Fewer photos have a task for each `BATCH`, more have tasks of the largest size."""

MAX_BATCHES_PER_TASK = 20
"""Limits the loss when a task fails: 2.5 minutes of one core at 64 pixels, see jobs/README.md."""

MIN_PHOTOS_OF_MEAN = 10
"""A mean age of fewer photos is not reported."""

FAULTS_OF_THE_FILE = (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP, errno.EACCES, errno.EPERM, errno.ENXIO)

SCORE = StructType(
    [
        StructField(name, StringType() if name in ("status", "reason", "detail") else DoubleType())
        for name in PhotoScore._fields
    ]
).add("scored_on", StringType())
SCORES = StructType([StructField("photo_id", StringType()), *SCORE])


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of the job."""

    model: Path
    """Model folder, at the same path on all machines."""
    kernel_photos: Path | None = None
    """Labelled set (labels.csv, final_files/) of photos from the chain's own tills, by which the errors of the ages are
    measured. Default: the photos that the model held out."""


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
        address = gpu.addresses[0] if gpu else None
        place = f"{socket.gethostname()}, GPU {address}" if gpu else socket.gethostname()
        if gpu:
            print(f"score_photos: a task on {place}", flush=True)  # in the log of the executor
        predictor = predict.shared(model, version, predict.device_of(address))
        scored_on = f"{place} ({predictor.device})"
        on_cpu = predictor.device.type == "cpu"
        n_threads = 2 if on_cpu else min(32, os.cpu_count() or 1)
        scores = predict.score_photos(
            predictor, chain.from_iterable(batches), photo_reader(landing), n_threads=n_threads
        )
        while rows := list(islice(scores, 1_000)):
            yield pd.DataFrame(rows, columns=list(PhotoScore._fields)).assign(scored_on=scored_on)

    return score  # type: ignore[no-any-return]


def score_photos(spark: SparkSession, photos: pa.Table, scorer: Callable[[Column], Column]) -> pa.Table:
    """Return `photo_id` and the fields of `SCORE` for each photo.

    Args:
        spark: session.
        photos: `photo_id, path`.
        scorer: from `age_scorer`.
    """
    # By the number of photos alone, and in the order of their ids: the same photos are in the same batches on any
    # cluster. Without a shuffle, because the first one of a session takes 1 s or more.
    n_batches = min(MAX_BATCHES_PER_TASK, ceil(len(photos) / (BATCH * N_TASKS)))
    tasks = photos.sort_by("photo_id").combine_chunks().to_batches(max_chunksize=BATCH * n_batches)
    spark.conf.set("spark.sql.execution.arrow.localRelationThreshold", 0)  # otherwise Spark splits the rows anew
    split = spark.createDataFrame(pa.Table.from_batches(tasks))
    return split.withColumn("score", scorer(split["path"])).select("photo_id", "score.*").toArrow()


def devices(scores: pa.Table) -> str:
    """Describe how many photos each device has scored, with a warning where the CPU took the place of a GPU.

    Args:
        scores: `scored_on`.
    """
    counts = Counter(scores["scored_on"].to_pylist())
    text = "; ".join(f"{counts[place]} on {place}" for place in sorted(counts))
    if without := [place for place in sorted(counts) if re.search(r", GPU .* \(cpu\)$", place)]:
        text += f"\nscore_photos: warning: CUDA can't use {len(without)} of the assigned GPUs; see nvidia-smi there"
    return text


def error_rows(errors: AgeErrors) -> pa.Table:
    """Return the rows of `restricted/age_errors`: one for each pair."""
    sources = [errors.source] * len(errors.true_years)
    columns = [sources, errors.true_years, errors.estimated_years]
    return pa.table(columns, names=["source", "age_years", "estimated_years"]).cast(
        WAREHOUSE["restricted/age_errors"].row_schema
    )


def mean_age_years(ages: pa.ChunkedArray) -> Measure:
    """Return the mean of `ages`, years; None if fewer than `MIN_PHOTOS_OF_MEAN` are known."""
    known = ages.drop_null()
    return round(pc.mean(known).as_py(), 3) if len(known) >= MIN_PHOTOS_OF_MEAN else None


def main(settings: Settings) -> None:
    """Run the job."""
    model = settings.model.resolve()  # a promotion can move the link during the run
    version = predict.check(model)
    check_java()
    check_worker_python()
    with Night(settings, "score_photos", landing_tables=["photo_events", "receipts"]) as night:
        if settings.kernel_photos:
            predict.prepare(model)  # first, so that their ages are those of the network that scores the date
        errors = age_errors.read(model, settings.kernel_photos)
        print(f"score_photos: {errors.summary}", flush=True)
        night.screen("photo_events", business_date=night.date)
        of_version = {"business_date": night.date, "model_version": version}
        night.create("photos", "nightly/photos_to_score", **of_version)
        photos = night.connection.table("photos").to_arrow_table()
        scores = to_arrow_schema(SCORES).empty_table()
        if len(photos):  # otherwise neither torch nor Spark is needed
            with ThreadPoolExecutor(1) as thread:  # importing torch and starting Java take seconds each
                prepared = thread.submit(predict.prepare, model)
                spark = spark_session("score_photos")
            print(f"score_photos: model {version} on {prepared.result()}", flush=True)
            started = time.monotonic()
            scores = score_photos(spark, photos, age_scorer(night.place, model, version))
            seconds = time.monotonic() - started
            print(f"score_photos: {night.date}, {len(scores)} scored in {seconds:.1f} s, {devices(scores)}", flush=True)
        night.connection.register("scores", scores)
        night.create("photo_ages", "nightly/photo_ages", **of_version)
        ages = night.connection.table("photo_ages")
        unreadable = ages.filter("status = 'unreadable'").select("photo_id", "reason", "detail").to_arrow_table()
        night.set_aside("photo_events", unreadable.rename_columns(["key", "reason", "detail"]))
        mean_age = mean_age_years(ages.select("age_years").to_arrow_table()["age_years"])
        night.measure(mean_age_years=mean_age, model_version=version, n_age_errors=len(errors.true_years))
        if errors.version:
            night.measure(kernel_version=errors.version)
        night.replace("restricted/age_errors", error_rows(errors))
        night.replace_by("restricted/photo_ages", "photo_ages")


if __name__ == "__main__":
    run(main, Settings)
