"""Give every receipt of one business date the age of who stood at the till.

In: `restricted/photo_ages` of the date and the landing table `receipts`. Out: `restricted/receipt_ages`, one row a
receipt that has a usable photo, and quarantine.

- A photo belongs to a receipt of its store and till if it was taken between opening and closing, give or take the
  grace period.
- A photo belongs to one receipt at most, the nearest in time: inside beats outside, then the smaller gap, then the
  nearer middle, then the smaller `receipt_id`.
- Several photos of one receipt are combined by the median.
- A receipt without a photo is not bad: it is counted as unmatched.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pyspark.sql import (
    Column,
    DataFrame,
    Window,
    functions as F,  # noqa: N812
)

from jobs.tables import quarantine as quality, warehouse as tables
from jobs.tables.bands import AgeBand, BandSettings, age_bands
from jobs.tables.landing import landing_files
from jobs.tables.spark import check_java, spark_session
from model.cli import InputError, run

SLOT_SECONDS = 600
"""Receipts and photos meet by till and ten-minute slot, so that the join grows with the rows and not their square."""

MAX_RECEIPT_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Settings(BandSettings):
    """Flags of the job."""

    grace_seconds: float = 5.0
    """How far the clocks of a camera and its till may be apart, seconds."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.grace_seconds <= 300:
            raise InputError(f"grace_seconds is {self.grace_seconds}; it must be between 0 and 300")


def screen_receipts(receipts: DataFrame, business_date: dt.date) -> DataFrame:
    """Mark the receipts that can't be used."""
    # try_: the rules are looked at in turn, but a plan may compute them all, and a time may be anything.
    micros_open = F.try_subtract(F.unix_micros("closed_at"), F.unix_micros("opened_at"))
    times = F.format_string(
        "opened %s, closed %s", *(F.col(name).cast("string") for name in ("opened_at", "closed_at"))
    )
    return quality.screen(
        receipts,
        "receipts",
        [
            quality.missing_value("receipt_id", "store_id", "till_id", "till_type", "opened_at", "closed_at"),
            quality.off_date(business_date, "opened_at", "closed_at"),
            quality.Defect("closes_before_it_opens", micros_open < 0, times),
            quality.Defect("open_over_a_day", micros_open > MAX_RECEIPT_SECONDS * 1_000_000, times),
        ],
    )


def age_band(age_years: Column, bands: Sequence[AgeBand]) -> Column:
    """Name the band of an age. Estimates are rounded to completed years, as the labels they were learnt from are."""
    completed_years = F.floor(age_years + 0.5)
    return F.coalesce(*(F.when(completed_years <= band.high, F.lit(band.name)) for band in bands))


def match_photos(photos: DataFrame, receipts: DataFrame, grace_seconds: float) -> DataFrame:
    """Pair each photo with its receipt: the columns of `photos` and `receipt_id`. Photos without one are left out.

    Args:
        photos: `photo_id, store_id, till_id, captured_at` and others.
        receipts: usable rows of the landing table.
        grace_seconds: tolerance before opening and after closing.
    """
    till = ["store_id", "till_id", "slot"]
    slot_micros = SLOT_SECONDS * 1_000_000
    grace = F.lit(round(grace_seconds * 1_000_000))
    opened, closed, captured = F.col("opened"), F.col("closed"), F.col("captured")
    intervals = receipts.select(
        "receipt_id",
        "store_id",
        "till_id",
        F.unix_micros("opened_at").alias("opened"),
        F.unix_micros("closed_at").alias("closed"),
    )
    first, last = F.floor((opened - grace) / slot_micros), F.floor((closed + grace) / slot_micros)
    slotted = intervals.withColumn("slot", F.explode(F.sequence(first, last)))
    moments = photos.withColumn("captured", F.unix_micros("captured_at"))
    moments = moments.withColumn("slot", F.floor(captured / slot_micros))
    pairs = moments.join(slotted, on=till, how="inner")
    within_grace = captured.between(opened - grace, closed + grace)
    gap = F.greatest(opened - captured, captured - closed, F.lit(0))
    to_middle = F.abs(2 * captured - opened - closed)
    nearest = F.row_number().over(Window.partitionBy("photo_id").orderBy(gap, to_middle, "receipt_id"))
    ranked = pairs.where(within_grace).withColumn("nearest", nearest).where("nearest = 1")
    return ranked.select(*photos.columns, "receipt_id")


def combine_photos(matched: DataFrame, receipts: DataFrame, bands: Sequence[AgeBand]) -> DataFrame:
    """Return one row a matched receipt: the median of its photos, and the band that falls in.

    Args:
        matched: from `match_photos`.
        receipts: usable rows of the landing table.
        bands: age bands.
    """
    ages = matched.groupBy("receipt_id").agg(
        F.median("age_years").alias("age_years"),
        F.count(F.lit(1)).cast("int").alias("n_photos"),
        F.sort_array(F.collect_list("photo_id")).alias("photo_ids"),
        F.median("p_under_18").alias("p_under_18"),
        F.median("p_under_25").alias("p_under_25"),
    )
    owners = receipts.select("receipt_id", "store_id", "till_id", "cashier_id")
    return owners.join(ages, on="receipt_id", how="inner").withColumn("age_band", age_band(F.col("age_years"), bands))


def main(settings: Settings) -> None:
    """Check, read, screen, match, write."""
    check_java()
    receipt_files = landing_files(settings.landing, "receipts", settings.business_date)
    tables.check_warehouse(settings.warehouse)
    tables.require_run(settings.warehouse, "score_photos", settings.business_date)
    spark = spark_session("match_receipts")
    ages = tables.read_warehouse(spark, settings.warehouse, "restricted/photo_ages", settings.business_date)
    photos = ages.where(F.col("status") == "scored")
    screened = screen_receipts(tables.read_landing(spark, receipt_files, "receipts"), settings.business_date).persist()
    receipts = quality.used(screened, "receipts")
    matched = match_photos(photos, receipts, settings.grace_seconds)
    aged = combine_photos(matched, receipts, age_bands(settings.age_bands)).persist()
    counts = quality.count(screened)
    n_matched, n_matched_photos = aged.agg(F.count(F.lit(1)), F.coalesce(F.sum("n_photos"), F.lit(0))).collect()[0]
    measures = {
        "receipts_matched": n_matched,
        "matched_share": n_matched / counts["rows_used"] if counts["rows_used"] else None,
        "photos_unmatched": photos.count() - n_matched_photos,
    }
    replace = partial(tables.replace, warehouse=settings.warehouse, business_date=settings.business_date)
    replace(quality.quarantine(screened, "receipts"), name="restricted/quarantine", source_table="receipts")
    report = {"receipts": counts, "": measures}
    quality.report(spark, settings.warehouse, "match_receipts", settings.business_date, report)
    replace(aged, name="restricted/receipt_ages")
    spark.catalog.clearCache()
    print(f"match_receipts: {settings.business_date}, {n_matched} of {counts['rows_used']} receipts matched, {counts}")


if __name__ == "__main__":
    run(main, Settings)
