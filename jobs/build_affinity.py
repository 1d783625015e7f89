"""Count what each age band buys, and publish how far that is from what everybody buys.

In: `restricted/receipt_ages` of the date, the landing tables `receipt_lines` and `products`. Out:
`restricted/daily_counts` (additive, of this date) and from it, for windows of 1, 7 and 28 dates that end with this one,
`analytics/age_product_affinity` and `analytics/age_category_affinity`; and quarantine.

- The unit is the receipt with a known age. It holds an item if its net quantity is above zero: returns are negative.
- A line of an unknown or rejected receipt, of an unknown product, or with an impossible figure is set aside.
- A cell of fewer than ten receipts is not published, nor a second one that would give it away by subtraction.
- A window reads the counts that earlier runs left, so 28 dates cost no more than one. After a re-run that
  changed a date, the 27 dates after it are to be run again.
"""

import datetime as dt
from dataclasses import dataclass
from functools import partial

from pyspark.sql import (
    Column,
    DataFrame,
    SparkSession,
    functions as F,  # noqa: N812
)

import sql
from jobs.tables import quarantine as quality, warehouse as tables
from jobs.tables.bands import BandSettings
from jobs.tables.landing import landing_files
from jobs.tables.spark import check_java, spark_session
from model.cli import InputError, run

MAX_WINDOW_DAYS = 28
MAX_FIGURE = 1e9
"""Largest quantity or amount of a line; keeps sums of ten-thousandths inside 64 bits."""


@dataclass(frozen=True, kw_only=True)
class Settings(BandSettings):
    """Flags of the job."""

    min_receipts: int = 10
    """Smallest number of receipts that a published cell stands for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.min_receipts < 10:
            raise InputError(
                f"min_receipts is {self.min_receipts}; it must be at least 10: fewer may point at a person"
            )


def screen_products(products: DataFrame) -> DataFrame:
    """Mark the products that can't be used."""
    required = quality.missing_value("product_id", "product_name", "category", "department", "is_alcohol")
    negative = quality.Defect("impossible_min_age", ~F.col("min_age").between(0, 120), F.col("min_age").cast("string"))
    return quality.screen(products, "products", [required, negative])


def screen_lines(lines: DataFrame, products: DataFrame, receipts: DataFrame, rejected_receipts: DataFrame) -> DataFrame:
    """Mark the receipt lines that can't be used.

    Args:
        lines: landing table `receipt_lines`.
        products: usable products.
        receipts: landing table `receipts`; only `receipt_id` is looked at.
        rejected_receipts: quarantine rows of the date's receipts; only `key` is looked at.
    """
    sold = products.select("product_id", F.lit(True).alias("product_known"))
    rejected = rejected_receipts.select(F.col("key").alias("receipt_id"), F.lit(True).alias("rejected"))
    rung_up = receipts.groupBy("receipt_id").agg(F.lit(True).alias("receipt_known"))
    # Spread by receipt once: counting copies, versions and baskets then moves no row again.
    looked_up = (
        lines.repartition("receipt_id")
        .join(rung_up, on="receipt_id", how="left")
        .join(F.broadcast(rejected.dropDuplicates()), on="receipt_id", how="left")
        .join(F.broadcast(sold), on="product_id", how="left")
    )
    return quality.screen(
        looked_up.select(*lines.columns, "receipt_known", "rejected", "product_known"),
        "receipt_lines",
        [
            quality.missing_value(*lines.columns),
            quality.Defect("impossible_figure", ~(_is_figure("quantity") & _is_figure("amount")), _figures()),
            quality.Defect("receipt_unknown", F.col("receipt_known").isNull(), F.lit("no such receipt on the date")),
            quality.Defect("receipt_quarantined", F.col("rejected"), F.lit("its receipt was set aside")),
            quality.Defect(
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
    spark: SparkSession,
    counts: DataFrame,
    business_date: dt.date,
    bands: tuple[str, ...],
    min_receipts: int,
) -> DataFrame:
    """Measure how far each band's purchases are from everybody's; see `sql/nightly/age_affinity.sql`.

    Args:
        spark: session.
        counts: `restricted/daily_counts` of the 28 dates that end with `business_date`.
        business_date: last date of the windows.
        bands: names of all bands, so that one without a receipt has its rows too.
        min_receipts: smallest number of receipts that a published cell stands for.
    """
    # Dates counted by other bands can't be added up with these: they do not count towards n_days.
    other = counts.where(~F.col("age_band").isin(*bands)).select("business_date").dropDuplicates()
    return spark.sql(
        sql.load("nightly/age_affinity"),
        args={"business_date": business_date, "min_receipts": min_receipts},
        daily_counts=counts.join(F.broadcast(other), on="business_date", how="left_anti"),
        age_bands=spark.createDataFrame([(band,) for band in bands], "age_band string").coalesce(1),
    )


def check_bands(receipt_ages: DataFrame, bands: tuple[str, ...]) -> None:
    """Make sure that match_receipts was told the same bands.

    Raises:
        InputError: a receipt is of a band that is not among them.
    """
    other = receipt_ages.where(~F.col("age_band").isin(*bands)).select("age_band").first()
    if other is not None:
        raise InputError(
            f"age_bands is {' '.join(bands)}, but match_receipts wrote {other[0]}; run it again with the same age_bands"
        )


def main(settings: Settings) -> None:
    """Check, read, screen, count, measure, write."""
    check_java()
    names = ("receipt_lines", "products", "receipts")
    files = {name: landing_files(settings.landing, name, settings.business_date) for name in names}
    tables.check_warehouse(settings.warehouse)
    tables.require_run(settings.warehouse, "match_receipts", settings.business_date)
    spark = spark_session("build_affinity")
    frames = {name: tables.read_landing(spark, files[name], name) for name in names}
    date, warehouse = settings.business_date, settings.warehouse
    replace = partial(tables.replace, warehouse=warehouse, business_date=date)
    rejected = tables.read_warehouse(spark, warehouse, "restricted/quarantine", date)
    products = screen_products(frames["products"]).persist()
    sold = quality.used(products, "products")
    lines = screen_lines(
        frames["receipt_lines"], sold, frames["receipts"], rejected.where("source_table = 'receipts'")
    ).persist()
    aged = tables.read_warehouse(spark, warehouse, "restricted/receipt_ages", date)
    check_bands(aged, settings.age_bands)
    counts = daily_counts(spark, quality.used(lines, "receipt_lines"), sold, aged)
    for name, screened in (("products", products), ("receipt_lines", lines)):
        replace(quality.quarantine(screened, name), name="restricted/quarantine", source_table=name)
    measures = {"products": quality.count(products), "receipt_lines": quality.count(lines)}
    quality.report(spark, warehouse, "build_affinity", date, measures)
    replace(counts, name="restricted/daily_counts")
    first = date - dt.timedelta(days=MAX_WINDOW_DAYS - 1)
    history = tables.read_warehouse(spark, warehouse, "restricted/daily_counts", first, date)
    affinity = age_affinity(spark, history, date, settings.age_bands, settings.min_receipts).persist()
    of_products = affinity.where("level = 'product'").join(
        F.broadcast(sold.withColumnRenamed("product_id", "item")), on="item", how="left"
    )
    replace(of_products.withColumnRenamed("item", "product_id"), name="analytics/age_product_affinity")
    of_categories = affinity.where("level IN ('category', 'department')")
    replace(of_categories, name="analytics/age_category_affinity")
    spark.catalog.clearCache()
    print(f"build_affinity: {date}, {aged.count()} receipts with an age, {measures}")


if __name__ == "__main__":
    run(main, Settings)
