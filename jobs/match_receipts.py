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

from dataclasses import dataclass

from jobs.tables.night import LandingSettings, Night
from model.cli import InputError, run


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of the job."""

    grace_seconds: float = 5.0
    """Largest difference between the clocks of a camera and its till, seconds."""

    def __post_init__(self) -> None:
        if not 0 <= self.grace_seconds <= 300:
            raise InputError(f"grace_seconds is {self.grace_seconds}; it must be between 0 and 300")


def main(settings: Settings) -> None:
    """Run the job."""
    with Night(settings, "match_receipts", landing_tables=["receipts"]) as night:
        night.screen("receipts", business_date=night.date)
        night.create(
            "receipt_ages", "nightly/receipt_ages", business_date=night.date, grace_seconds=settings.grace_seconds
        )
        (matched,) = night.rows("nightly/matched", business_date=night.date).to_pylist()
        n_used = night.set_aside("receipts")["rows_used"]
        share = matched["receipts_matched"] / n_used if n_used else None
        night.measure(**matched, matched_share=share)
        for table in ("daily_counts", "daily_store_counts", "cashier_daily_counts", "age_restricted_sales"):
            night.clear(f"restricted/{table}")  # counted from other ages; no window may contain them
        night.replace_by("restricted/receipt_ages", "receipt_ages")


if __name__ == "__main__":
    run(main, Settings)
