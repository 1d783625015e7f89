"""Give every receipt of one business date the age of the shopper at the till.

In: `restricted/photo_ages` of the date and the landing table `receipts`. Out: `restricted/receipt_ages`, one row for
each receipt that has a usable photo, and quarantine.

- A photo belongs to a receipt of its store and till if it was taken between opening and closing, plus or minus the
  grace period.
- A photo belongs to at most one receipt, the nearest in time: the one with the smallest gap (0 between opening and
  closing), then with the nearest middle, then with the smallest `receipt_id`.
- The age of a receipt is the median of its photos.
- A receipt without a photo is not quarantined; it is counted as unmatched.
"""

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import DataFrame, Window, functions as F

from jobs.tables import quarantine
from jobs.tables.night import LandingSettings, Night
from model.cli import InputError, run

SLOT_SECONDS = 600
"""Receipts and photos are joined by till and ten-minute slot, so that the join grows linearly."""

MAX_RECEIPT_SECONDS = 24 * 3600


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of the job."""

    grace_seconds: float = 5.0
    """Largest difference between the clocks of a camera and its till, seconds."""

    def __post_init__(self) -> None:
        if not 0 <= self.grace_seconds <= 300:
            raise InputError(f"grace_seconds is {self.grace_seconds}; it must be between 0 and 300")


def screen_receipts(receipts: DataFrame, business_date: dt.date) -> DataFrame:
    """Mark the receipts that can't be used, with a reason."""
    # try_subtract: Spark may evaluate this for times that another rule rejects, and a plain subtraction would overflow.
    micros_open = F.try_subtract(F.unix_micros("closed_at"), F.unix_micros("opened_at"))
    times = F.format_string(
        "opened %s, closed %s", *(F.col(name).cast("string") for name in ("opened_at", "closed_at"))
    )
    return quarantine.screen(
        receipts,
        "receipts",
        [
            quarantine.missing_value("receipt_id", "store_id", "till_id", "till_type", "opened_at", "closed_at"),
            quarantine.off_date(business_date, "opened_at", "closed_at"),
            quarantine.Defect("closes_before_it_opens", micros_open < 0, times),
            quarantine.Defect("open_over_a_day", micros_open > MAX_RECEIPT_SECONDS * 1_000_000, times),
        ],
    )


def match_photos(photos: DataFrame, receipts: DataFrame, grace_seconds: float) -> DataFrame:
    """Return the photos that have a receipt, with its `receipt_id`.

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


def combine_photos(matched: DataFrame, receipts: DataFrame) -> DataFrame:
    """Return one row for each matched receipt, with the median age of its photos.

    Args:
        matched: from `match_photos`.
        receipts: usable rows of the landing table.
    """
    ages = matched.groupBy("receipt_id").agg(
        F.median("age_years").alias("age_years"),
        F.count(F.lit(1)).cast("int").alias("n_photos"),
        F.sort_array(F.collect_list("photo_id")).alias("photo_ids"),
        F.median("p_under_18").alias("p_under_18"),
        F.median("p_under_25").alias("p_under_25"),
    )
    owners = receipts.select("receipt_id", "store_id", "till_id")
    return owners.join(ages, on="receipt_id", how="inner")


def main(settings: Settings) -> None:
    """Run the job."""
    with Night(settings, "match_receipts", landing_tables=["receipts"]) as night:
        screened = screen_receipts(night.landing("receipts"), night.date).persist()
        receipts = quarantine.used(screened, "receipts")
        photos = night.read("restricted/photo_ages").where(F.col("status") == "scored")
        ages = combine_photos(match_photos(photos, receipts, settings.grace_seconds), receipts).persist()
        n_used = night.set_aside("receipts", screened)["rows_used"]
        n_matched, n_photos = ages.agg(F.count(F.lit(1)), F.coalesce(F.sum("n_photos"), F.lit(0))).collect()[0]
        night.measure(
            receipts_matched=n_matched,
            matched_share=n_matched / n_used if n_used else None,
            photos_unmatched=photos.count() - n_photos,
        )
        for table in ("daily_counts", "daily_store_counts", "cashier_daily_counts", "age_restricted_sales"):
            night.clear(f"restricted/{table}")  # counted from other ages; no window may contain them
        night.replace("restricted/receipt_ages", ages)


if __name__ == "__main__":
    run(main, Settings)
