"""Count the purchases of each age band, and publish how far they differ from those of all shoppers.

In: `restricted/receipt_ages` of the date, `analytics/age_bands`, and the landing tables `receipt_lines` and `products`.
Out: `restricted/daily_counts` of the date; `analytics/age_product_affinity` and `analytics/age_category_affinity` for
windows of 1, 7 and 28 dates that end with the date; and quarantine.

- The unit is a receipt with a known age. It contains an item if the net quantity, returns subtracted, is above zero.
- A line of an unknown or rejected receipt, of an unknown product, or with an impossible figure goes to quarantine.
- A cell of fewer than ten receipts is not published, and neither is a second cell that would reveal it by subtraction.
- Windows are sums of the counts of earlier runs. After a re-run that changed a date, run the 27 dates after it again.
- A window contains only dates with the same age bands as the business date.
"""

import datetime as dt
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

import sql
from jobs.tables import quarantine
from jobs.tables.night import DateSettings, Night
from model.cli import InputError, run

MAX_WINDOW_DAYS = 28
MAX_FIGURE = 1e9
"""Largest quantity or amount of a line, so that sums in ten-thousandths fit into 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Settings(DateSettings):
    """Flags of the job."""

    min_receipts: int = 10
    """Smallest number of receipts in a published cell."""

    def __post_init__(self) -> None:
        if self.min_receipts < 10:
            raise InputError(
                f"min_receipts is {self.min_receipts}; it must be at least 10, because fewer can identify a person"
            )


def screen_products(products: DataFrame) -> DataFrame:
    """Mark the products that can't be used, with a reason."""
    required = quarantine.missing_value("product_id", "product_name", "category", "department", "is_alcohol")
    negative = quarantine.Defect(
        "impossible_min_age", ~F.col("min_age").between(0, 120), F.col("min_age").cast("string")
    )
    return quarantine.screen(products, "products", [required, negative])


def screen_lines(lines: DataFrame, products: DataFrame, receipts: DataFrame, rejected_receipts: DataFrame) -> DataFrame:
    """Mark the receipt lines that can't be used, with a reason.

    Args:
        lines: landing table `receipt_lines`.
        products: usable products.
        receipts: landing table `receipts`; only `receipt_id` is read.
        rejected_receipts: quarantine rows of the date's receipts; only `key` is read.
    """
    known = products.select("product_id", F.lit(True).alias("product_known"))
    rejected = rejected_receipts.select(F.col("key").alias("receipt_id"), F.lit(True).alias("rejected"))
    receipt_ids = receipts.groupBy("receipt_id").agg(F.lit(True).alias("receipt_known"))
    # With this partitioning, counting copies, versions and baskets needs no further shuffle.
    looked_up = (
        lines.repartition("receipt_id")
        .join(receipt_ids, on="receipt_id", how="left")
        .join(F.broadcast(rejected.dropDuplicates()), on="receipt_id", how="left")
        .join(F.broadcast(known), on="product_id", how="left")
    )
    return quarantine.screen(
        looked_up.select(*lines.columns, "receipt_known", "rejected", "product_known"),
        "receipt_lines",
        [
            quarantine.missing_value(*lines.columns),
            quarantine.Defect("impossible_figure", ~(_is_figure("quantity") & _is_figure("amount")), _figures()),
            quarantine.Defect("receipt_unknown", F.col("receipt_known").isNull(), F.lit("no such receipt on the date")),
            quarantine.Defect("receipt_quarantined", F.col("rejected"), F.lit("its receipt is in quarantine")),
            quarantine.Defect(
                "product_unknown",
                F.col("product_known").isNull(),
                F.format_string("product %s", F.col("product_id")),
            ),
        ],
    )


def _is_figure(name: str) -> Column:
    return ~F.isnan(name) & (F.abs(F.col(name)) <= MAX_FIGURE)


def _figures() -> Column:
    return F.concat_ws(", ", F.col("quantity").cast("string"), F.col("amount").cast("string"))


def daily_counts(spark: SparkSession, lines: DataFrame, products: DataFrame, receipt_ages: DataFrame) -> DataFrame:
    """Count receipts, quantity and amount of one date by band and item; see `sql/nightly/daily_counts.sql`.

    Args:
        spark: session.
        lines: usable lines.
        products: usable products.
        receipt_ages: `restricted/receipt_ages` of the date.
    """
    return spark.sql(
        sql.load("nightly/daily_counts"),
        lines=lines,
        products=F.broadcast(products.select("product_id", "category", "department")),
        receipt_ages=receipt_ages.select("receipt_id", "age_band"),
    )


def age_affinity(
    spark: SparkSession, counts: DataFrame, bands: DataFrame, business_date: dt.date, min_receipts: int
) -> DataFrame:
    """Compute how far the purchases of each band differ from those of all shoppers; see `sql/nightly/age_affinity.sql`.

    Args:
        spark: session.
        counts: `restricted/daily_counts` of the 28 dates that end with `business_date`.
        bands: `analytics/age_bands` of the same dates.
        business_date: last date of the windows.
        min_receipts: smallest number of receipts in a published cell.
    """
    return spark.sql(
        sql.load("nightly/age_affinity"),
        args={"business_date": business_date, "min_receipts": min_receipts},
        daily_counts=counts,
        age_bands=F.broadcast(bands),
    )


def with_names(affinity: DataFrame, products: DataFrame) -> DataFrame:
    """Return the cells of level `product`, with the product's name, category and department."""
    names = F.broadcast(products.withColumnRenamed("product_id", "item"))
    cells = affinity.where("level = 'product'").join(names, on="item", how="left")
    return cells.withColumnRenamed("item", "product_id")


def main(settings: Settings) -> None:
    """Read, screen, count, measure, write."""
    tables = ["receipt_lines", "products", "receipts"]
    with Night(settings, "build_affinity", landing_tables=tables, needs=["analytics/age_bands"]) as night:
        screened_products = screen_products(night.landing("products")).persist()
        products = quarantine.used(screened_products, "products")
        rejected = night.read("restricted/quarantine").where("source_table = 'receipts'")
        screened = screen_lines(night.landing("receipt_lines"), products, night.landing("receipts"), rejected).persist()
        night.set_aside("products", screened_products)
        night.set_aside("receipt_lines", screened)
        lines, ages = quarantine.used(screened, "receipt_lines"), night.read("restricted/receipt_ages")
        night.replace("restricted/daily_counts", daily_counts(night.spark, lines, products, ages))
        counts = night.read("restricted/daily_counts", days=MAX_WINDOW_DAYS)
        bands = night.read("analytics/age_bands", days=MAX_WINDOW_DAYS)
        affinity = age_affinity(night.spark, counts, bands, night.date, settings.min_receipts).persist()
        night.replace("analytics/age_product_affinity", with_names(affinity, products))
        night.replace("analytics/age_category_affinity", affinity.where("level IN ('category', 'department')"))


if __name__ == "__main__":
    run(main, Settings)
