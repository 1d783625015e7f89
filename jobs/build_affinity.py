"""Publish what each age band buys in the windows of 1, 7 and 28 dates that end with a business date, and what to offer.

In: `restricted/daily_counts`, `restricted/daily_store_counts` and `restricted/catalogue` of the 28 dates, and
`restricted/age_errors` of the date. Out: `analytics/age_bands`, `analytics/age_product_affinity`,
`analytics/age_category_affinity` and `analytics/age_offers` of the date. No landing zone, no model, no Spark.

- The affinity index is corrected for the error of the estimated ages (`jobs/stats/affinity.py`); it is published with
  its 95 % interval. A cell is notable if its q value is at most 0.05 and its interval does not contain 100.
- Counts are protected: below ten they are hidden, others are rounded to the nearest ten. Shares come from the rounded
  counts.
- A window contains only dates that were scored by the same model, with the same error kernel, as the business date.
- A window with too few receipts, or a model without known errors, gives naive indices with intervals and the reason.
"""

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

import sql
from jobs.stats import window
from jobs.stats.affinity import Z_95, Level, Window
from jobs.stats.ages import YEARS, Floats
from jobs.tables.bands import DEFAULT_BANDS, AgeBand, age_bands
from jobs.tables.duck import connect
from jobs.tables.night import DateSettings, Measure, Night, WarehouseSettings
from jobs.tables.schemas import WAREHOUSE
from jobs.tables.windows import (
    LEVELS,
    WINDOW_DAYS,
    WindowCounts,
    WindowDates,
    check_not_deleted,
    check_unchanged,
    longest_window,
    read_counts,
    read_versions,
    window_dates,
)
from model import kernel
from model.cli import InputError, run

MIN_RECEIPTS_TO_CORRECT = 300
"""Receipts of a window. On the sample chain, 95 % intervals of categories cover 87 % with 100 receipts, 92 to 93 % with
200 and 300 (8 runs each).
"""
ROUND_TO = 10
"""Published counts are multiples of this. Each window adds an equation for the hidden counts of its dates: with
multiples of 5, least squares find 1.6 to 1.7 times as many of these counts as a guess, with multiples of 10, 1.2 to
1.35 times (`tests/jobs/test_attacker.py`, chains of 100 to 1,000 receipts a date).
"""
N_REPLICATES = 20
MIN_KEPT = 0.5
"""Share of a band's shoppers with an estimate in the band; below it, the report has a warning."""

BANDS, OFFERS = "analytics/age_bands", "analytics/age_offers"
PRODUCTS, CATEGORIES = "analytics/age_product_affinity", "analytics/age_category_affinity"

ESTIMATES = pa.schema(
    {
        "level": pa.string(),
        "item": pa.string(),
        "age_band": pa.string(),
        "log_index": pa.float64(),
        "q_value": pa.float64(),
        "affinity_index": pa.float64(),
        "index_low": pa.float64(),
        "index_high": pa.float64(),
    }
)


@dataclass(frozen=True, kw_only=True)
class PublicationSettings(WarehouseSettings):
    """Flags of every program that publishes windows."""

    age_bands: tuple[str, ...] = DEFAULT_BANDS
    """Bands of completed years; they must tile 0 to 120. Counts are kept by year, so a change needs no recount."""
    min_receipts: int = 10
    """Smallest number of receipts in a published cell."""
    offers_per_band: int = 10
    """Largest number of products offered to a band."""
    offers_per_category: int = 2
    """Largest number of them from one category."""
    offer_min_penetration: float = 0.005
    """Smallest share of a band's receipts with an offered product."""
    offer_age_restricted: bool = False
    """Whether to offer products with a legal age, to bands that begin at 30 or later."""

    def __post_init__(self) -> None:
        age_bands(self.age_bands)
        if self.min_receipts < 10:
            raise InputError(
                f"min_receipts is {self.min_receipts}; it must be at least 10, because fewer can identify a person"
            )
        for name in ("offers_per_band", "offers_per_category"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if not 0 <= self.offer_min_penetration <= 1:
            raise InputError(f"offer_min_penetration is {self.offer_min_penetration}; it must be a share, from 0 to 1")


@dataclass(frozen=True, kw_only=True)
class Settings(PublicationSettings, DateSettings):
    """Flags of the job."""


@dataclass(frozen=True, kw_only=True)
class Fit:
    """The estimates of a window."""

    estimates: pa.Table = field(default_factory=ESTIMATES.empty_table)
    """One row per level, item and band."""
    measures: dict[str, Measure] = field(default_factory=dict)
    """For the report."""
    bands: dict[str, Measure] = field(default_factory=dict)
    """For the report, from `band_measures`."""
    uncorrected: str | None = None
    """Why there are no estimates."""


def read(connection: duckdb.DuckDBPyConnection, name: str, **parameters: object) -> pa.Table:
    """Run a statement of `sql/publish`."""
    return connection.sql(sql.load(f"publish/{name}"), params=parameters).to_arrow_table()


def error_kernels(connection: duckdb.DuckDBPyConnection, business_date: dt.date) -> list[Floats]:
    """Return the error kernel of a date, (101, 101), and its replicates; empty if too few errors are known."""
    errors = read(connection, "age_errors", business_date=business_date)
    if len(errors) < kernel.MIN_PAIRS:
        return []
    ages, estimated = errors["age_years"].to_numpy().astype(int), errors["estimated_years"].to_numpy()
    transfer = errors["source"][0].as_py() == "held_out"
    replicates = kernel.replicates(ages, estimated, n=N_REPLICATES, transfer=transfer)
    return [kernel.fit(ages, estimated), *replicates]


def fit_window(counts: WindowCounts, kernels: Sequence[Floats], bands: Sequence[AgeBand], min_receipts: int) -> Fit:
    """Estimate the corrected indices of a window; see `jobs.stats.window.estimate`.

    Args:
        counts: the counts.
        kernels: from `error_kernels`.
        bands: age bands.
        min_receipts: smallest published count.
    """
    n_receipts = int(counts.by_store.sum())
    if not kernels:
        return Fit(uncorrected="no_age_errors")
    if n_receipts < MIN_RECEIPTS_TO_CORRECT:
        needed = f"{MIN_RECEIPTS_TO_CORRECT} receipts are needed to correct indices"
        return Fit(uncorrected="too_few_receipts_to_correct", measures={"warning": needed})
    levels = [counts.levels[name] for name in LEVELS]
    estimates = window.estimate(
        Window(counts_by_store=counts.by_store, kernel=kernels[0], replicates=np.array(kernels[1:])),
        [Level(counts=of.by_year, by_store=of.by_store, parent=of.parent, min_age=of.min_age) for of in levels],
        [of.age_sums for of in levels],
        np.array([(band.from_years <= YEARS) & (band.to_years >= YEARS) for band in bands]),
        min_receipts,
    )
    tables = []
    for name, counted, estimated in zip(LEVELS, levels, estimates.levels, strict=True):
        low, high = estimated.indices.interval(Z_95)
        points = {
            "affinity_index": estimated.indices.index(),
            "index_low": low,
            "index_high": high,
        }
        tables.append(
            pa.table(
                {
                    "level": [name] * low.size,
                    "item": np.repeat(np.array(counted.items, dtype=object), len(bands)),
                    "age_band": [band.age_band for band in bands] * len(counted.items),
                    "log_index": estimated.indices.log_index.ravel(),
                    "q_value": np.ceil(1000 * estimated.q_value.ravel()) / 1000,  # never rounded down to significance
                    **{column: np.maximum(1, np.rint(values)).ravel() for column, values in points.items()},
                },
                schema=ESTIMATES,
            )
        )
    dispersion = estimates.dispersion
    return Fit(
        estimates=pa.concat_tables(tables),
        measures={
            "overdispersion": None if dispersion is None else round(dispersion, 2),
            "items_tested": sum(estimated.n_tested for estimated in estimates.levels),
        },
        bands=band_measures(estimates, bands),
    )


def band_measures(estimates: window.WindowEstimates, bands: Sequence[AgeBand]) -> dict[str, Measure]:
    """Return, for the report, the age distribution of the shoppers and how well each band is told from the others."""
    measures: dict[str, Measure] = {}
    for number, band in enumerate(bands):
        kept = float(estimates.kept[number])
        measures[f"share_of_shoppers {band.age_band}"] = round(float(estimates.share[number]), 2)
        measures[f"reliability {band.age_band}"] = round(float(estimates.reliability[number]), 2)
        measures[f"kept_in_band {band.age_band}"] = round(kept, 2)
        if kept < MIN_KEPT:
            measures[f"warning {band.age_band}"] = (
                f"the band is narrower than the error of the ages allows: {kept:.0%} of its shoppers are estimated to "
                f"be in it, wanted {MIN_KEPT:.0%}"
            )
    return measures


def publish(
    connection: duckdb.DuckDBPyConnection, settings: Settings, days: int, dates: Sequence[dt.date], fit: Fit
) -> pa.Table:
    """Return the cells of one window, all levels, and register them as `cells`; see `sql/publish/age_affinity.sql`.

    Args:
        connection: to the warehouse, with the tables `bands` and `products`.
        settings: flags.
        days: length of the window.
        dates: its dates with counts.
        fit: its estimates; registered as `estimates`.
    """
    connection.register("estimates", fit.estimates)
    counted = {"dates": list(dates), "window_days": days}
    protection = {"min_receipts": settings.min_receipts, "round_to": ROUND_TO}
    cells = read(connection, "age_affinity", **counted, **protection, uncorrected=fit.uncorrected)
    connection.register("cells", cells)
    return cells


def offers(connection: duckdb.DuckDBPyConnection, settings: Settings) -> pa.Table:
    """Return the offers that follow from the registered tables of a window; see `sql/publish/age_offers.sql`."""
    return read(
        connection,
        "age_offers",
        business_date=settings.business_date,
        min_penetration=settings.offer_min_penetration,
        age_restricted=settings.offer_age_restricted,
        n_offers=settings.offers_per_band,
        n_per_category=settings.offers_per_category,
    )


def conform(rows: pa.Table, name: str) -> pa.Table:
    """Return the columns of a warehouse table, in its types."""
    schema = WAREHOUSE[name].row_schema
    return rows.select(schema.names).cast(schema)


def publish_windows(
    connection: duckdb.DuckDBPyConnection, settings: Settings, window_of: WindowDates, bands: Sequence[AgeBand]
) -> tuple[pa.Table, dict[str, Measure]]:
    """Return the cells of all windows, and measures for the report. The tables of the longest stay registered."""
    kernels = error_kernels(connection, settings.business_date)
    measures: dict[str, Measure] = {
        "windows_hash": window_of.hash,
        "dates_left_out": " ".join(map(str, window_of.left_out)) or "none",
    }
    fits: dict[tuple[dt.date, ...], Fit] = {}
    cells = []
    for days in tqdm(WINDOW_DAYS, "build_affinity", unit="window"):
        dates = tuple(window_of.within(settings.business_date, days))
        connection.register("products", read(connection, "products", dates=list(dates)))
        if dates not in fits:  # in the first days of a chain, the windows are the same
            fits[dates] = fit_window(read_counts(connection, dates), kernels, bands, settings.min_receipts)
        cells.append(publish(connection, settings, days, dates, fits[dates]))
        n_notable = pc.sum(cells[-1]["is_notable"]).as_py() or 0
        of_window = {**fits[dates].measures, "notable_cells": n_notable}
        measures |= {f"{name}_{days}_days": value for name, value in of_window.items()}
    longest = tuple(window_of.within(settings.business_date, WINDOW_DAYS[-1]))
    return pa.concat_tables(cells), {**measures, **fits[longest].bands}


def main(settings: Settings) -> None:
    """Read, estimate, protect, write."""
    bands = age_bands(settings.age_bands)
    with Night(settings, "build_affinity") as night, connect(settings.warehouse, restricted=True) as connection:
        versions = read_versions(connection, *longest_window(night.date))
        check_not_deleted(versions, night.date)
        window_of = window_dates(versions, night.date)
        check_unchanged(settings.warehouse, night.date, versions)
        band_rows = pa.Table.from_pylist([band._asdict() for band in bands], WAREHOUSE[BANDS].row_schema)
        connection.register("bands", band_rows)
        cells, measures = publish_windows(connection, settings, window_of, bands)
        is_product = pc.equal(cells["level"], "product")
        products = cells.filter(is_product).rename_columns({"item": "product_id"})
        night.measure(**measures)
        night.replace(BANDS, band_rows)
        night.replace(PRODUCTS, conform(products, PRODUCTS))
        night.replace(CATEGORIES, conform(cells.filter(pc.invert(is_product)), CATEGORIES))
        night.replace(OFFERS, conform(offers(connection, settings), OFFERS))


if __name__ == "__main__":
    run(main, Settings)
