"""Count the purchases of one business date by the estimated age of the shoppers, and age-restricted sales by cashier.

In: `restricted/receipt_ages` of the date, and the landing tables `receipt_lines`, `products` and `receipts`.
Out: `restricted/daily_counts` by year of age, `restricted/daily_store_counts` by store, `restricted/catalogue`, the
products of the date, `restricted/cashier_daily_counts`, `restricted/age_restricted_sales`, and quarantine.

- The unit of the first two is a receipt with a known age, of the cashiers' counts any usable receipt. It contains an
  item if the net quantity, returns subtracted, is above zero.
- A line of an unknown or rejected receipt, of an unknown product, or with an impossible figure goes to quarantine.
- A figure is possible if it is a number from minus to plus `--max-line-figure`, both included.
- Goods are restricted if their legal age in the catalogue of the date is above zero.
- A restricted receipt whose `id_checked` is null is a good receipt: the check is counted as unknown.
- A receipt of a staffed till without `cashier_id` is in no table of cashiers; the report says whether there are some.
- The report contains `counts_hash`. Two runs with equal tables have equal hashes.
"""

import hashlib
import zoneinfo
from dataclasses import dataclass

from tqdm import tqdm

from jobs.tables.night import LandingSettings, Night
from model.cli import InputError, run

MAX_LINE_FIGURE = 1e11
"""Largest bound of a line. A double represents every ten-thousandth up to 9e11."""

COUNTED = ("daily_counts", "daily_store_counts", "catalogue", "cashier_daily_counts", "age_restricted_sales")
"""The tables that `counts_hash` covers, and the statements of their rows."""

RECEIPTS_AT_ONCE = 250_000
"""In the order of their stores. Groups by receipt and by store then fit into the caches of the processor: 78 s of CPU
for 4,000,000 receipts instead of 108, and less memory."""


@dataclass(frozen=True, kw_only=True)
class Settings(LandingSettings):
    """Flags of the job."""

    time_zone: str = "UTC"
    """Time zone of the stores, an IANA name such as Europe/Madrid; it gives a receipt its local hour."""
    max_line_figure: float = 1_000_000
    """Largest quantity or amount of a line, returns included; an amount is in the currency of the store. The default is
    for currencies such as the euro; for those with small units, such as the Indonesian rupiah, give 1,000,000,000."""

    def __post_init__(self) -> None:
        if not 0 < self.max_line_figure <= MAX_LINE_FIGURE:
            raise InputError(
                f"--max-line-figure is {self.max_line_figure:g}; it must be above 0 and at most {MAX_LINE_FIGURE:.0f}"
            )
        # Names without a slash, such as EST, are outdated.
        known = self.time_zone == "UTC" or ("/" in self.time_zone and self.time_zone in zoneinfo.available_timezones())
        if not known:
            raise InputError(
                f"--time-zone is {self.time_zone!r}; it must be UTC or an IANA name of a region, such as Europe/Madrid"
            )


def content_hash(night: Night) -> str:
    """Return a hash of the rows of `COUNTED`, 16 hexadecimal digits, independent of the order of the rows."""
    content = []
    for table in sorted(COUNTED):
        night.connection.table(table).create_view("hashed")
        content.append(f"{table} {night.rows('nightly/content_hash').to_pylist()}")
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:16]


def main(settings: Settings) -> None:
    """Run the job."""
    tables = ["receipt_lines", "products", "receipts"]
    with Night(settings, "count_purchases", landing_tables=tables) as night:
        night.screen("products")
        night.create("receipts", "nightly/receipts", business_date=night.date, time_zone=settings.time_zone)
        night.screen("receipt_lines", max_figure=settings.max_line_figure)
        n_receipts = night.connection.table("receipts").count("*").fetchall()[0][0]
        for first in tqdm(range(1, max(n_receipts, 1) + 1, RECEIPTS_AT_ONCE), "count", unit="part", delay=10):
            part = {"first": first, "last": first + RECEIPTS_AT_ONCE - 1}
            night.create("purchases", "nightly/purchases", **part)
            night.append("item_counts", "nightly/item_counts", **part)
            night.append("restricted_receipts", "nightly/restricted_receipts")
        for table in ("receipt_goods", *COUNTED):
            night.create(table, f"nightly/{table}")
        night.set_aside("products")
        night.set_aside("receipt_lines")
        for table in COUNTED:
            night.replace_by(f"restricted/{table}", table)
        # Not their number: analysts read reports, and learn nothing of cashiers.
        lacks_cashiers = night.connection.table("receipt_goods").filter("is_staffed AND cashier_id IS NULL").limit(1)
        night.measure(staffed_without_cashier="some" if lacks_cashiers.fetchall() else "none")
        night.measure(counts_hash=content_hash(night))


if __name__ == "__main__":
    run(main, Settings)
