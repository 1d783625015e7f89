"""Screen the cashiers who sell age-restricted goods, in the windows that end with a business date.

In: `restricted/cashier_daily_counts` and `restricted/age_restricted_sales` of 28 dates.
Out: `restricted/cashier_screening` and `restricted/store_screening` of the date, and for cashiers in review
`restricted/cashier_cases`. No landing zone, no model, no Spark. `jobs/stats/screening.py` states the method.

- A reason to look at receipts, not a finding. A person decides.
- A cashier is a store and a `cashier_id`: the same id in two stores is two cashiers.
- A window contains only dates that were scored by the same model as the business date.
- A window without restricted sales, or without other receipts as a control, screens nobody; the report says so. The
  report says nothing else of the result, not even numbers: every analyst reads it.
- A window with a date whose counts are deleted is not screened again; its rows stay.
"""

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from tqdm import tqdm

from jobs.stats import screening
from jobs.stats.cases import draw_batch
from jobs.stats.sales import ControlRows, SalesRows
from jobs.stats.screening import Rule, Screening, Window
from jobs.tables.cases import CASES, UNITS, draw_cases
from jobs.tables.cashier_counts import CashierCounts, read_counts, table_of
from jobs.tables.duck import connect
from jobs.tables.night import DateSettings, Night, WarehouseSettings
from jobs.tables.retention import SCREENING, STORES
from jobs.tables.warehouse import Warehouse
from jobs.tables.windows import WindowDates, check_unchanged, longest_window, read_versions, window_dates
from model.cli import InputError, run

CHECKS_NOT_RECORDED = 0.1
"""Share of restricted sales without a record of the check, from which a row has this reason."""

LIMITS = ("limit_low_95", "limit_low_998", "limit_high_95", "limit_high_998")

CAVEAT = (
    "A reason to look at receipts, not a finding. Ages are estimates. Other explanations: camera, clientele, regular "
    "customers, a check that was not recorded, training, chance ({n_tested} tested, about {n_false_alarms} of them on "
    "watch by chance)."
)


@dataclass(frozen=True, kw_only=True)
class ScreeningSettings(WarehouseSettings):
    """Flags of every program that screens cashiers."""

    screening_days: tuple[int, ...] = (7, 28)
    """Lengths of the windows in days, 1 to 28."""
    hour_blocks: tuple[int, ...] = (5, 12, 16, 19)
    """Local hours at which the parts of a day begin that are compared, ascending; the last lasts until the first."""
    min_sales: int = Rule.min_sales
    """Sales with a photo; with fewer, there is insufficient data."""
    watch_p: float = Rule.watch_p
    """Largest p value of few checks on the watch list."""
    watch_young_p: float = Rule.watch_young_p
    """Largest p value of young faces on the watch list."""
    review_sales: int = Rule.review_sales
    """Fewest sales of a cashier in review."""
    review_q: float = Rule.review_q
    """Largest false discovery rate of a cashier in review."""
    review_ratio: float = Rule.review_ratio
    """Largest ratio of checks made and expected of a cashier in review."""

    def __post_init__(self) -> None:
        windows = self.screening_days
        if not windows or not all(1 <= days <= 28 for days in windows) or len(set(windows)) < len(windows):
            raise InputError(f"screening_days is {windows}; it must be one or more different numbers from 1 to 28")
        blocks = self.hour_blocks
        if not blocks or not all(0 <= hour <= 23 for hour in blocks) or sorted(set(blocks)) != list(blocks):
            raise InputError(f"hour_blocks is {blocks}; it must be hours from 0 to 23, ascending, such as 5 12 16 19")
        for name, smallest in (("min_sales", Rule.min_sales), ("review_sales", max(Rule.review_sales, self.min_sales))):
            if getattr(self, name) < smallest:
                raise InputError(f"{name} is {getattr(self, name)}; it must be at least {smallest}")
        # The rule can only be made more cautious: how often it is wrong was measured with these thresholds.
        for name in ("watch_p", "watch_young_p", "review_q", "review_ratio"):
            largest = getattr(Rule, name)
            if not 0 < getattr(self, name) <= largest:
                raise InputError(f"{name} is {getattr(self, name)}; it must be above 0 and at most {largest}")

    @property
    def rule(self) -> Rule:
        """The thresholds."""
        return Rule(**{each.name: getattr(self, each.name) for each in fields(Rule)})


@dataclass(frozen=True, kw_only=True)
class Settings(ScreeningSettings, DateSettings):
    """Flags of the job."""


def window(counts: CashierCounts) -> Window:
    """Return the sums for the statistics."""
    return Window(
        store=counts.cashiers["store"].to_numpy(),
        n_stores=len(counts.stores),
        n_blocks=counts.n_blocks,
        sales=SalesRows(**counts.sales),
        self_checkout=SalesRows(**counts.self_checkout),
        control=ControlRows(**counts.control),
    )


def reasons(counts: CashierCounts, result: Screening) -> list[list[str]]:
    """Return what explains or qualifies the status of each cashier."""
    table = counts.cashiers
    unknown = table["n_check_unknown"].to_numpy() > CHECKS_NOT_RECORDED * table["n_restricted"].to_numpy()
    rules = {
        "few_checks": result.has_few_checks,
        "young_faces": result.has_young_faces,
        "control_shift": result.control.flag,
        "few_expected_checks": result.expected < screening.MIN_EXPECTED,
        "few_control_receipts": result.control.n < screening.MIN_CONTROL,
        "no_colleagues": table["n_cashiers"].to_numpy() == 1,
        "checks_not_recorded": unknown,
    }
    return [[name for name, applies in rules.items() if applies[number]] for number in range(len(table))]


def cashier_rows(counts: CashierCounts, result: Screening, **constants: object) -> pa.Table:
    """Return the rows of `restricted/cashier_screening` of a window; `constants` are columns with one value."""
    table = counts.cashiers
    n_restricted = np.maximum(table["n_restricted"].to_numpy(), 1)  # rows without sales are left out in the end
    with np.errstate(invalid="ignore"):
        ratio = result.made / result.expected
    of_tested = {
        **{name: getattr(result, name) for name in LIMITS},
        "checks_ratio": ratio,
        "checks_ratio_shrunk": result.ratio,
        "young_observed": result.young.observed,
        "young_expected": result.young.expected,
        "ratio_low": result.ratio_low,
        "ratio_high": result.ratio_high,
        "detectable_ratio": result.detectable_ratio,
        "p_check": result.p_check,
        "p_young": result.young.p_value,
        "q_value": result.q_value,
    }
    columns = {
        **{name: table[name] for name in ("store_id", "cashier_id", "n_restricted", "n_with_photo", "n_check_unknown")},
        "photo_share": table["n_photos"].to_numpy() / n_restricted,
        "checks_made": result.made,
        "checks_expected": result.expected,
        "control_shift_years": result.control.shift,
        "control_z": result.control.z,
        "control_flag": result.control.flag,
        "n_tested": np.full(len(table), result.is_tested.sum()),
        "tau": np.full(len(table), result.spread.tau),
        "tau_store": np.full(len(table), result.spread.tau_store),
        "tau_young": np.full(len(table), result.young.tau),
        "status": result.status,
        "reasons": reasons(counts, result),
        # Nothing is said of a cashier with insufficient data.
        **{name: np.where(result.is_tested, values, np.nan) for name, values in of_tested.items()},
    }
    return table_of(SCREENING, columns, constants)


def store_rows(counts: CashierCounts, result: Screening, **constants: object) -> pa.Table:
    """Return the rows of `restricted/store_screening` of a window, for staffed tills and self-checkouts."""
    table, stores = counts.stores, result.stores
    nothing = np.full(len(table), np.nan)
    of_tills: dict[str, dict[str, Any]] = {
        "staffed": {
            "n_cashiers": table["n_cashiers"],
            **{name: table[name] for name in ("n_restricted", "n_with_photo", "n_check_unknown")},
            "checks_made": stores.made,
            "checks_expected": stores.expected,
            "checks_ratio_shrunk": stores.ratio,
            "ratio_low": stores.ratio_low,
            "ratio_high": stores.ratio_high,
        },
        "self": {
            "n_cashiers": pa.repeat(0, len(table)),
            **{name: table[f"{name}_self"] for name in ("n_restricted", "n_with_photo", "n_check_unknown")},
            "checks_made": stores.self_made,
            "checks_expected": stores.self_expected,
            **dict.fromkeys(("checks_ratio_shrunk", "ratio_low", "ratio_high"), nothing),
        },
    }
    tables = []
    for till_type, columns in of_tills.items():
        with np.errstate(invalid="ignore"):
            ratio = columns["checks_made"] / columns["checks_expected"]
        rows = {**columns, "store_id": table["store_id"], "checks_ratio": ratio}
        tables.append(table_of(STORES, rows, {**constants, "till_type": till_type}))
    return pa.concat_tables(tables)


def screen_window(counts: CashierCounts, rule: Rule, **constants: object) -> tuple[Screening, pa.Table, pa.Table]:
    """Screen the cashiers of a window; return the result, the rows of cashiers and those of stores."""
    result = screening.screen(window(counts), rule)
    caveat = CAVEAT.format(n_tested=result.is_tested.sum(), n_false_alarms=f"{result.n_false_alarms:.1f}")
    thresholds = ", ".join(f"{name} {value}" for name, value in vars(rule).items())
    constants = {**constants, "caveat": caveat, "rule": thresholds, "rule_version": screening.RULE_VERSION}
    return result, cashier_rows(counts, result, **constants), store_rows(counts, result, **constants)


@dataclass(kw_only=True)
class Screened:
    """The rows of all windows of a date."""

    cashiers: list[pa.Table] = field(default_factory=list)
    stores: list[pa.Table] = field(default_factory=list)
    corrections: pa.Table = field(default_factory=UNITS.empty_table)
    """Of the ages of each cashier's buyers in the longest window, with the columns of `UNITS`."""
    obstacles: dict[int, str] = field(default_factory=dict)
    """By length of the window: why it was not screened, or none."""

    @property
    def in_review(self) -> list[tuple[str, str]]:
        """Store and cashier of those in review in any window."""
        chosen = [rows.filter(pc.equal(rows["status"], "review")) for rows in self.cashiers]
        columns = (rows.select(["store_id", "cashier_id"]).to_pylist() for rows in chosen)
        return [(row["store_id"], row["cashier_id"]) for rows in columns for row in rows]

    def with_kept(self, existing: pa.Table, rows: Sequence[pa.Table]) -> pa.Table:
        """Return new rows, and the existing ones of the windows whose counts are deleted."""
        kept = [days for days, obstacle in self.obstacles.items() if obstacle == "counts_deleted"]
        return pa.concat_tables([existing.filter(pc.is_in(existing["window_days"], pa.array(kept, pa.int32()))), *rows])


def screen_windows(
    connection: duckdb.DuckDBPyConnection,
    settings: Settings,
    window_of: WindowDates,
    constants: Mapping[str, object],
    deleted: Sequence[dt.date],
) -> Screened:
    """Screen the windows that end with the business date.

    Args:
        connection: to the warehouse, with the restricted zone.
        settings: flags.
        window_of: dates of the longest window.
        constants: columns with one value in all windows.
        deleted: dates of the longest window whose counts are deleted.
    """
    screened = Screened()
    for days in tqdm(sorted(settings.screening_days), "screen_cashiers", unit="window"):
        dates = window_of.within(settings.business_date, days)
        if any(date > settings.business_date - dt.timedelta(days) for date in deleted):
            # With a part of its counts, a window would look complete.
            screened.obstacles[days] = "counts_deleted"
            continue
        counts = read_counts(connection, dates, settings.hour_blocks)
        screened.obstacles[days] = counts.obstacle or "none"
        if not counts.obstacle:
            of_window = {**constants, "window_days": days, "n_days": len(dates)}
            result, cashiers, stores = screen_window(counts, settings.rule, **of_window)
            screened.cashiers.append(cashiers)
            screened.stores.append(stores)
            shifts = pa.array(-result.control.correction)
            ids = counts.cashiers.select(["store_id", "cashier_id"])  # also of those without a row
            screened.corrections = pa.table([*ids.columns, shifts], schema=UNITS)
    return screened


def main(settings: Settings) -> None:
    """Read, screen, write, draw cases, delete what is due."""
    with Night(settings, "screen_cashiers") as night, connect(settings.warehouse, restricted=True) as connection:
        versions = read_versions(connection, *longest_window(night.date))
        window_of = window_dates(versions, night.date)
        check_unchanged(settings.warehouse, night.date, versions)
        warehouse = Warehouse(settings.warehouse)
        as_of = warehouse.newest_date() or night.date
        constants = {"model_version": versions[night.date].model_version}
        deleted = [date for date, version in versions.items() if version.cashier_counts_deleted]
        screened = screen_windows(connection, settings, window_of, constants, deleted)
        obstacles = {f"obstacle_{days}_days": obstacle for days, obstacle in screened.obstacles.items()}
        night.measure(windows_hash=window_of.hash, **obstacles)
        night.update(SCREENING, lambda existing: screened.with_kept(existing, screened.cashiers))
        night.update(STORES, lambda existing: screened.with_kept(existing, screened.stores))
        draw = partial(
            draw_cases,
            connection,
            night.date,
            dates=window_of.within(night.date, max(settings.screening_days)),
            as_of=as_of,
            in_review=screened.in_review,
            units=screened.corrections,
            draw=partial(draw_batch, rng=np.random.default_rng()),
        )
        night.update(CASES, lambda existing: draw(existing=existing))


if __name__ == "__main__":
    run(main, Settings)
