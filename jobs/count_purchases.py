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
from collections.abc import Mapping
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, functions as F

import sql
from jobs.tables import quarantine
from jobs.tables.night import LandingSettings, Night
from model.cli import InputError, run

MAX_LINE_FIGURE = 1e11
"""Largest bound of a line. A double represents every ten-thousandth up to 9e11."""

ALCOHOL_AGE = 18

BASKET_COUNTS = ("daily_counts", "daily_store_counts")
CASHIER_COUNTS = ("cashier_daily_counts", "age_restricted_sales")

COUNTED = tuple(f"restricted/{table}" for table in (*BASKET_COUNTS, "catalogue", *CASHIER_COUNTS))
"""The tables that `counts_hash` covers."""


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
        # Names without a slash, such as EST, are outdated, and Java does not know all of them.
        known = self.time_zone == "UTC" or ("/" in self.time_zone and self.time_zone in zoneinfo.available_timezones())
        if not known:
            raise InputError(
                f"--time-zone is {self.time_zone!r}; it must be UTC or an IANA name of a region, such as Europe/Madrid"
            )


def screen_products(products: DataFrame) -> DataFrame:
    """Mark the products that can't be used, with a reason."""
    required = quarantine.missing_value("product_id", "product_name", "category", "department", "is_alcohol")
    negative = quarantine.Defect(
        "impossible_min_age", ~F.col("min_age").between(0, 120), F.col("min_age").cast("string")
    )
    return quarantine.screen(products, "products", [required, negative])


def screen_lines(
    lines: DataFrame, products: DataFrame, receipts: DataFrame, rejected_receipts: DataFrame, max_figure: float
) -> DataFrame:
    """Mark the receipt lines that can't be used, with a reason.

    Args:
        lines: landing table `receipt_lines`.
        products: usable products.
        receipts: landing table `receipts`; only `receipt_id` is read.
        rejected_receipts: quarantine rows of the date's receipts; only `key` is read.
        max_figure: largest quantity and amount, positive or negative.
    """
    known = products.select("product_id", F.lit(True).alias("product_known"))
    rejected = rejected_receipts.select(F.col("key").alias("receipt_id"), F.lit(True).alias("rejected"))
    receipt_ids = receipts.groupBy("receipt_id").agg(F.lit(True).alias("receipt_known"))
    # With this partitioning, counting copies and versions needs no further shuffle.
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
            quarantine.Defect("impossible_figure", ~_are_figures(max_figure), _figures()),
            quarantine.Defect("receipt_unknown", F.col("receipt_known").isNull(), F.lit("no such receipt on the date")),
            quarantine.Defect("receipt_quarantined", F.col("rejected"), F.lit("its receipt is in quarantine")),
            quarantine.Defect(
                "product_unknown",
                F.col("product_known").isNull(),
                F.format_string("product %s", F.col("product_id")),
            ),
        ],
    )


def _are_figures(largest: float) -> Column:
    # Spark's NaN is above every number.
    return (F.abs(F.col("quantity")) <= largest) & (F.abs(F.col("amount")) <= largest)


def _figures() -> Column:
    return F.concat_ws(", ", F.col("quantity").cast("string"), F.col("amount").cast("string"))


def receipt_baskets(spark: SparkSession, lines: DataFrame, products: DataFrame, receipt_ages: DataFrame) -> DataFrame:
    """Return what each receipt with an age contains at each level; see `sql/nightly/baskets.sql`.

    Args:
        spark: session.
        lines: usable lines.
        products: usable products.
        receipt_ages: `restricted/receipt_ages` of the date.
    """
    return spark.sql(
        sql.load("nightly/baskets"),
        lines=lines,
        products=F.broadcast(products.select("product_id", "category", "department")),
        receipt_ages=receipt_ages.select("receipt_id", "store_id", "age_years"),
    )


def sum_baskets(spark: SparkSession, table: str, baskets: DataFrame) -> DataFrame:
    """Return the rows of one of `BASKET_COUNTS`; see `sql/nightly/<table>.sql`.

    Args:
        spark: session.
        table: name of the table.
        baskets: from `receipt_baskets`. If they are persisted, they stay persisted.
    """
    return spark.sql(sql.load(f"nightly/{table}"), baskets=_same_rows(baskets, "level"))


def usable_receipts(receipts: DataFrame, rejected_receipts: DataFrame) -> DataFrame:
    """Return the receipts that `match_receipts` did not reject, each once.

    Args:
        receipts: landing table `receipts`.
        rejected_receipts: quarantine rows of the date's receipts; only `key` is read.
    """
    rejected = rejected_receipts.select(F.col("key").alias("receipt_id"))
    identified = receipts.where(F.col("receipt_id").isNotNull())  # the quarantine has no key of the others
    return identified.join(F.broadcast(rejected), on="receipt_id", how="left_anti").dropDuplicates()


def receipt_goods(
    receipts: DataFrame, lines: DataFrame, products: DataFrame, receipt_ages: DataFrame, time_zone: str
) -> DataFrame:
    """Return the goods, cashier, local hour and age of each receipt; see `sql/nightly/receipt_goods.sql`.

    Args:
        receipts: from `usable_receipts`.
        lines: usable lines.
        products: usable products.
        receipt_ages: `restricted/receipt_ages` of the date.
        time_zone: IANA name.
    """
    return receipts.sparkSession.sql(
        sql.load("nightly/receipt_goods"),
        args={"time_zone": time_zone},
        receipts=receipts,
        lines=lines,
        products=F.broadcast(products.select("product_id", "is_alcohol", _legal_age().alias("min_age"))),
        receipt_ages=receipt_ages.select("receipt_id", "age_years", "p_under_18"),
    )


def sum_receipts(spark: SparkSession, table: str, goods: DataFrame) -> DataFrame:
    """Return the rows of one of `CASHIER_COUNTS`; see `sql/nightly/<table>.sql`.

    Args:
        spark: session.
        table: name of the table.
        goods: from `receipt_goods`. If they are persisted, they stay persisted.
    """
    return spark.sql(sql.load(f"nightly/{table}"), receipt_goods=_same_rows(goods, "goods"))


def lacks_cashiers(goods: DataFrame) -> bool:
    """Return whether a receipt of a staffed till has no cashier; `goods` is from `receipt_goods`."""
    return not goods.where("is_staffed AND cashier_id IS NULL").isEmpty()


def _same_rows(frame: DataFrame, column: str) -> DataFrame:
    """Return all rows of a frame as another frame; `column` is never null.

    spark.sql makes a temporary view of a frame and drops it, and Spark then removes the frame from its cache.
    """
    return frame.where(F.col(column).isNotNull())


def _legal_age() -> Column:
    """Return the `min_age` of a product; for alcohol without one, `ALCOHOL_AGE`."""
    return F.coalesce("min_age", F.when(F.col("is_alcohol"), F.lit(ALCOHOL_AGE))).cast("int")


def sold_products(products: DataFrame, lines: DataFrame) -> DataFrame:
    """Return the usable products that have a usable line, with the columns of `restricted/catalogue`.

    Alcohol without a legal age gets one: otherwise it could be offered to the young.
    """
    sold = products.join(lines.select("product_id"), on="product_id", how="left_semi")
    return sold.select("product_id", "product_name", "category", "department", _legal_age().alias("min_age"))


def content_hash(tables: Mapping[str, DataFrame]) -> str:
    """Return a hash of the rows of some tables, 16 hexadecimal digits, independent of the order of the rows.

    It is the hash of each table's number of rows and sum of the hashes of its rows, so a row that occurs twice counts
    twice.
    """
    lines = []
    for name, rows in sorted(tables.items()):
        # xxhash64 skips nulls, so without the flags ('a', null) and (null, 'a') would be equal.
        flags = (F.col(column).isNull() for column in rows.columns)
        row_hash = F.xxhash64(*rows.columns, *flags).cast("decimal(38, 0)")
        n_rows, total = rows.agg(F.count(F.lit(1)), F.sum(row_hash)).collect()[0]
        lines.append(f"{name} {n_rows} {total}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def main(settings: Settings) -> None:
    """Run the job."""
    tables = ["receipt_lines", "products", "receipts"]
    with Night(settings, "count_purchases", landing_tables=tables) as night:
        screened_products = screen_products(night.landing("products")).persist()
        products = quarantine.used(screened_products, "products")
        rejected = night.read("restricted/quarantine").where("source_table = 'receipts'")
        landed = night.landing("receipts")
        landed_lines = night.landing("receipt_lines")
        screened = screen_lines(landed_lines, products, landed, rejected, settings.max_line_figure).persist()
        night.set_aside("products", screened_products)
        night.set_aside("receipt_lines", screened)
        lines, ages = quarantine.used(screened, "receipt_lines"), night.read("restricted/receipt_ages")
        baskets = receipt_baskets(night.spark, lines, products, ages).persist()
        for table in BASKET_COUNTS:
            night.replace(f"restricted/{table}", sum_baskets(night.spark, table, baskets))
        night.replace("restricted/catalogue", sold_products(products, lines))
        receipts = usable_receipts(landed, rejected)
        goods = receipt_goods(receipts, lines, products, ages, settings.time_zone).persist()
        for table in CASHIER_COUNTS:
            night.replace(f"restricted/{table}", sum_receipts(night.spark, table, goods))
        # Not their number: analysts read reports, and learn nothing of cashiers.
        night.measure(staffed_without_cashier="some" if lacks_cashiers(goods) else "none")
        night.measure(counts_hash=content_hash({table: night.read(table) for table in COUNTED}))


if __name__ == "__main__":
    run(main, Settings)
