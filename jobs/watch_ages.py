"""Compare the estimated ages of a business date with earlier dates and with the errors of the model, without labels.

In: `restricted/photo_ages` of the date and of the 28 dates before, `restricted/age_errors`, and the counts of the date.
Out: its report in `run_quality`. The statements of `sql/warnings` say which measures are beyond their limits, and which
stores, tills and hours look wrong; a warning never fails a night.

- Only dates that the model of the business date scored are compared.
- `*_previous*` and `interval_change_years` compare the date with the earlier dates, each with a limit that chance and
  the usual differences between dates exceed once in 500 nights. Beyond it, shoppers, cameras or the model changed.
- `*_held_out*` compare the date with the photos by which the errors of the model are known. A difference is expected,
  because shoppers are no sample of a labelled set; look at its course.
- `misfit` says, in standard deviations of its noise, how much of the ages no mix of true ages explains: then a camera
  or the model is wrong, whoever the shoppers are. `store_misfit` is that of the store with the most unusual one. The
  photos of tills are not those by which the errors are known, so some misfit is usual: the limits are above the median
  of the earlier dates, and that of the other stores.
- Every analyst reads the report: it has no figure of fewer than ten photos, and nothing of tills or cashiers.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import duckdb
import numpy as np

import sql
from jobs.stats import drift
from jobs.stats.ages import N_YEARS, Floats, Ints
from jobs.stats.misfit import misfit
from jobs.tables.duck import connect, execute
from jobs.tables.night import DateSettings, Measure, Night
from model import kernel
from model.cli import run

MIN_PHOTOS = 10
"""Nothing is reported of fewer photos, because it would tell of persons. Dates with fewer are not compared."""

MIN_PHOTOS_OF_STORE = 30
"""Stores with fewer photos on the date have no misfit: nearly any few ages are a mix."""

N_REPLICATES = 60

STORE_STATEMENTS = ("stores_with_shifted_ages", "stores_with_unused_photos", "cameras_without_photos")


@dataclass(frozen=True, kw_only=True)
class Settings(DateSettings):
    """Flags of the job."""


@dataclass(frozen=True, kw_only=True)
class Dates:
    """Additive rows of the date and of k earlier dates with the same model, oldest first."""

    today: Floats  # (101,) photos by estimated age
    before: Floats  # (k, 101)
    intervals: Floats  # (3,) number, sum, sum of squares of the widths of the intervals, years; nan without intervals
    intervals_before: Floats  # (k, 3)


class Watch:
    """The statements of `sql/watch` and `sql/warnings` on one business date."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, business_date: object) -> None:
        self._connection, self._date = connection, business_date

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return the rows of a statement."""
        answer = execute(self._connection, sql.load(name), {"business_date": self._date})
        return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]

    def dates(self) -> Dates:
        """Return the histograms; earlier dates with fewer than `MIN_PHOTOS` are left out."""
        by_date: dict[object, Floats] = {}
        for row in self.rows("watch/ages"):
            n, total, squares = row["n_photos"], row["interval_sum"], row["interval_squares"]
            sums = by_date.setdefault(row["business_date"], np.zeros(N_YEARS + 3))
            sums[row["age_year"]] += n
            sums[N_YEARS:] += [n, np.nan if total is None else total, np.nan if squares is None else squares]
        today = by_date.pop(self._date, np.zeros(N_YEARS + 3))
        enough = [sums for _, sums in sorted(by_date.items(), key=str) if sums[:N_YEARS].sum() >= MIN_PHOTOS]
        before = np.array(enough).reshape(len(enough), N_YEARS + 3)
        return Dates(
            today=today[:N_YEARS],
            before=before[:, :N_YEARS],
            intervals=today[N_YEARS:],
            intervals_before=before[:, N_YEARS:],
        )


def in_bins(bins: Ints, counts: Floats) -> Floats:
    """Sum counts (..., 101) within bins (101,)."""
    return counts @ np.eye(bins.max() + 1)[bins]


def compare_with_previous(dates: Dates) -> dict[str, Measure]:
    """Return what changed since the earlier dates, with limits; nothing with fewer than two earlier dates."""
    if len(dates.before) < 2:
        return {}
    bins = drift.equal_bins(dates.before.sum(axis=0), dates.today.sum())
    psi = drift.compare(in_bins(bins, dates.today), in_bins(bins, dates.before), drift.stability_index)
    moved = drift.compare(dates.today, dates.before, drift.wasserstein)
    measures: dict[str, Measure] = {
        "psi_previous": psi.square,
        "psi_previous_limit": psi.limit,
        "wasserstein_previous_years": np.sqrt(moved.square),
        "wasserstein_previous_years_limit": np.sqrt(moved.limit),
    }
    if np.isfinite(dates.intervals.sum() + dates.intervals_before.sum()):
        widths = drift.compare(dates.intervals, dates.intervals_before, drift.mean_difference)
        measures |= {
            "interval_change_years": np.sqrt(widths.square),
            "interval_change_years_limit": np.sqrt(widths.limit),
        }
    return measures


def compare_with_held_out(today: Floats, estimated: Floats) -> dict[str, Measure]:
    """Return how far the ages are from the estimates of the photos with known ages; nothing without those."""
    if len(estimated) < MIN_PHOTOS:
        return {}
    held_out = np.bincount(np.clip(np.floor(estimated + 0.5), 0, N_YEARS - 1).astype(int), minlength=N_YEARS)
    bins = drift.equal_bins(held_out.astype(float), min(today.sum(), len(estimated)))
    return {
        "psi_held_out": drift.stability_index(in_bins(bins, today), in_bins(bins, held_out.astype(float))).square,
        "wasserstein_held_out_years": np.sqrt(drift.wasserstein(today, held_out.astype(float)).square),
    }


def find_misfits(dates: Dates, stores: Mapping[str, Floats], pairs: list[dict[str, Any]]) -> dict[str, Measure]:
    """Return the misfit of the chain and the most unusual one of a store; nothing below `kernel.MIN_PAIRS` pairs."""
    if len(pairs) < kernel.MIN_PAIRS:
        return {}
    true, estimated = (np.array([pair[name] for pair in pairs]) for name in ("age_years", "estimated_years"))
    fitted = kernel.fit(true, estimated)
    # `transfer` also for pairs of the tills: with a million photos, the slightest difference would be a misfit.
    replicates = kernel.replicates(true, estimated, N_REPLICATES, transfer=True)
    chain = misfit(np.vstack([dates.today, dates.before]), fitted, replicates)
    measures: dict[str, Measure] = {"misfit": chain.z[0], "misfit_share": chain.share[0]}
    if len(dates.before):
        noise = np.sqrt(1 + 1 / len(dates.before))
        measures["misfit_limit"] = chain.z_of(float(np.median(chain.square[1:])))[0] + noise * chain.limit
    large = {store: counts for store, counts in stores.items() if counts.sum() >= MIN_PHOTOS_OF_STORE}
    if len(large) > 1:
        counts = np.array(list(large.values()))
        of_stores = misfit(counts, fitted, replicates)
        others = ~np.eye(len(counts), dtype=bool)
        of_others = np.array([np.median(of_stores.square[other]) for other in others])
        usual_z = of_stores.z_of(of_others)
        worst = int((of_stores.z - usual_z).argmax())
        measures |= {
            "store_misfit": of_stores.z[worst],
            "store_misfit_limit": usual_z[worst] + of_stores.limit,
            "store_misfit_of": list(large)[worst],
        }
    return measures


def measures_of(watch: Watch) -> dict[str, Measure]:
    """Return the report."""
    dates, (photos,) = watch.dates(), watch.rows("watch/unused_photos")
    if dates.today.sum() < MIN_PHOTOS:
        return {"obstacle": f"fewer_than_{MIN_PHOTOS}_photos"}
    stores: dict[str, Floats] = {}
    for row in watch.rows("watch/store_ages"):
        stores.setdefault(row["store_id"], np.zeros(N_YEARS))[row["age_year"]] = row["n_photos"]
    pairs = watch.rows("publish/age_errors")
    unmatched = photos["n_unmatched"]
    measures: dict[str, Measure] = {
        "n_previous_dates": len(dates.before),
        "unreadable_share": photos["n_unreadable"] / photos["n_photos"],
        "unmatched_share": None if unmatched is None else unmatched / photos["n_photos"],
        "interval_years": dates.intervals[1] / dates.intervals[0] if np.isfinite(dates.intervals[1]) else None,
        **compare_with_previous(dates),
        **compare_with_held_out(dates.today, np.array([pair["estimated_years"] for pair in pairs])),
        **find_misfits(dates, stores, pairs),
    }
    for statement in STORE_STATEMENTS:
        named = sorted({row["store_id"] for row in watch.rows(f"warnings/{statement}")})
        measures[statement] = len(named)
        if named:
            measures[f"{statement}_of"] = ", ".join(named[:5]) + (" and others" if len(named) > 5 else "")
    return {name: round(float(value), 4) if isinstance(value, float) else value for name, value in measures.items()}


def main(settings: Settings) -> None:
    """Read, compare, report."""
    with Night(settings, "watch_ages") as night, connect(settings.warehouse, restricted=True) as connection:
        night.measure(**measures_of(Watch(connection, night.date)))


if __name__ == "__main__":
    run(main, Settings)
