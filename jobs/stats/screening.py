"""Which cashiers of a window asked for identification less often than sales, colleagues, camera and chance explain.

A reason to look at receipts, not a finding. Not asking is the signal. Young faces never lead to a review, because the
clientele of tills differs; they only put a cashier on the watch list, where a cashier who records checks that were not
made can be seen.

Sources: Spiegelhalter 2005 (funnel plots), Ohlssen, Sharples and Spiegelhalter 2007 (limits from random effects), Jones
and Spiegelhalter 2011 (predictive limits), Paule and Mandel 1982 (spread), Royal Statistical Society 2022, "Healthcare
serial killer or coincidence?" (how such figures mislead).
"""

from dataclasses import dataclass

import numpy as np
from scipy import special

from jobs.stats import checks
from jobs.stats.ages import Bools, Floats, Ints
from jobs.stats.control import Control, control_shift
from jobs.stats.discovery import q_values
from jobs.stats.funnel import Predicted, Spread, estimate_spread
from jobs.stats.sales import ControlRows, SalesRows, sum_by
from jobs.stats.tally import Tally
from jobs.stats.young import Young, young_faces

RULE_VERSION = 1
"""Changes with each change of the rule that can change a status."""

MIN_EXPECTED = 1
"""Expected checks; with fewer, not even no check at all would be unusual."""

MIN_CONTROL = 20
"""Control receipts; with fewer, nothing could excuse a cashier whose camera reads ages wrongly."""


@dataclass(frozen=True, kw_only=True)
class Window:
    """The sums of a window: C cashiers at staffed tills in S stores."""

    store: Ints  # (C,) number of the store
    n_stores: int
    n_blocks: int  # of hours
    sales: SalesRows
    control: ControlRows
    self_checkout: SalesRows


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Thresholds of the status."""

    min_sales: int = 5
    """Sales with a photo; with fewer, or with fewer than one expected check, there is insufficient data."""
    watch_p: float = 0.025
    """Largest p_check of the watch list."""
    watch_young_p: float = 0.01
    """Largest p_young of the watch list."""
    review_sales: int = 15
    """Fewest sales of a review."""
    review_q: float = 0.05
    """Largest false discovery rate of a review."""
    review_ratio: float = 0.75
    """Largest ratio of checks made and expected of a review."""


@dataclass(frozen=True, kw_only=True)
class Stores:
    """Checks of S stores as a whole; ratios are 1 where a store asks like the chain."""

    made: Floats  # (S,) at staffed tills
    expected: Floats
    ratio: Floats  # (S,) shrunk to the chain
    ratio_low: Floats  # 95 % interval
    ratio_high: Floats
    self_made: Floats  # (S,) at self-checkouts
    self_expected: Floats  # (S,) as at staffed tills of the chain


@dataclass(frozen=True, kw_only=True)
class Screening:
    """Results for C cashiers. `made` and `expected` are of sales whose buyer looks young, see `tally`."""

    n: Floats  # (C,) sales
    made: Floats
    expected: Floats
    limit_low_95: Floats  # limits of the number of checks that contain 95 % and 99.8 %
    limit_low_998: Floats
    limit_high_95: Floats
    limit_high_998: Floats
    ratio: Floats  # (C,) made / expected, shrunk to that of the colleagues
    ratio_low: Floats  # 95 % interval
    ratio_high: Floats
    detectable_ratio: Floats  # (C,) NaN: no ratio
    p_check: Floats  # 1 without sales that count
    q_value: Floats  # 1 where not tested
    is_tested: Bools
    young: Young
    control: Control
    spread: Spread
    stores: Stores
    rule: Rule

    @property
    def is_review(self) -> Bools:
        """(C,) a person should look at receipts."""
        far_below = (self.q_value <= self.rule.review_q) & (self.made <= self.rule.review_ratio * self.expected)
        return self.has_few_checks & (self.n >= self.rule.review_sales) & far_below

    @property
    def has_few_checks(self) -> Bools:
        """(C,) fewer checks than expected."""
        return self.is_tested & (self.p_check < self.rule.watch_p)

    @property
    def has_young_faces(self) -> Bools:
        """(C,) more young faces than expected, and no large shift of all ages."""
        return self.is_tested & ~self.control.flag & (self.young.p_value < self.rule.watch_young_p)

    @property
    def status(self) -> list[str]:
        """(C,) insufficient_data, within_limits, watch or review."""
        conditions = [~self.is_tested, self.is_review, self.has_few_checks | self.has_young_faces]
        names = np.select(conditions, ["insufficient_data", "review", "watch"], "within_limits")
        return [str(name) for name in names]

    @property
    def n_false_alarms(self) -> float:
        """Expected number of tested cashiers on the watch list by chance, if all ask as usual."""
        return float(self.is_tested.sum() * (self.rule.watch_p + self.rule.watch_young_p))


def screen(window: Window, rule: Rule) -> Screening:
    """Screen the cashiers of a window.

    Raises:
        ValueError: there are no sales or no control receipts.
    """
    sales, n_cashiers, n_blocks = window.sales, window.store.size, window.n_blocks
    if not sales.n.sum() or not window.control.n.sum():
        raise ValueError("the window has no restricted sales, or no receipts without restricted goods as a control")
    control = control_shift(window.control, n_cashiers, window.n_stores, n_blocks)
    n_by_place, n_young = (
        sum_by(window.control.place, values, window.n_stores * n_blocks)
        for values in (window.control.n, window.control.n_under_27)
    )
    fifth = checks.fifths(n_by_place, n_young)
    age_years = sales.age_year + control.correction[sales.cashier]
    coefficients, log_odds = checks.fit_log_odds(
        _circumstances(sales, age_years, fifth, n_blocks), sales.n, sales.n_checked, n_blocks
    )
    tally = Tally.of(sales.cashier, n_cashiers, sales.n, sales.n_checked, log_odds)
    spread = estimate_spread(tally.effect, tally.variance, window.store, window.n_stores)
    deviation = np.sqrt(spread.tau**2 + spread.colleagues_variance)
    has_sales = tally.expected > 0
    # A cashier without sales that count gets one, so that nothing is divided by 0, and no p value.
    predicted = Predicted.of(np.where(has_sales[:, None], tally.sales, 1), tally.bins, spread.colleagues, deviation)
    limit_low_998 = predicted.limit(0.001)
    young = young_faces(sales, _p_under_18(sales, age_years), n_cashiers, n_blocks)
    n = sum_by(sales.cashier, sales.n, n_cashiers)
    is_tested = (n >= rule.min_sales) & (tally.expected >= MIN_EXPECTED) & (control.n >= MIN_CONTROL)
    p_check = np.where(has_sales, predicted.tail(tally.made), 1)
    ratio, low, high = _shrunk(tally, spread.colleagues, deviation)
    known = np.where(has_sales, 1, np.nan)
    return Screening(
        n=n,
        made=tally.made,
        expected=tally.expected,
        limit_low_95=predicted.limit(0.025) * known,
        limit_low_998=limit_low_998 * known,
        limit_high_95=predicted.limit(0.975) * known,
        limit_high_998=predicted.limit(0.999) * known,
        ratio=ratio,
        ratio_low=low,
        ratio_high=high,
        detectable_ratio=predicted.detectable_ratio(limit_low_998, 0.8) * known,
        p_check=p_check,
        q_value=q_values(p_check, is_tested),
        is_tested=is_tested,
        young=young,
        control=control,
        spread=spread,
        stores=_stores(window, tally, spread, coefficients, fifth),
        rule=rule,
    )


def _circumstances(sales: SalesRows, age_years: Floats, fifth: Ints, n_blocks: int) -> checks.Circumstances:
    return checks.Circumstances(
        age_years=age_years, block=sales.place % n_blocks, is_alcohol=sales.is_alcohol, fifth=fifth[sales.place]
    )


def _p_under_18(sales: SalesRows, age_years: Floats) -> Floats:
    """Return the mean P(under 18) of all sales at the corrected age of each row, (R,)."""
    n = sum_by(sales.age_year, sales.n, checks.LAST_AGE + 1)
    years = np.flatnonzero(n)
    mean = sum_by(sales.age_year, sales.p_under_18_sum, checks.LAST_AGE + 1)[years] / n[years]
    return np.interp(age_years, years, mean).astype(np.float64)


def _shrunk(tally: Tally, prior: Floats, deviation: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the ratio of checks made and expected, shrunk to a prior, and its 95 % interval."""
    weight = 1 / np.maximum(deviation, 1e-6) ** 2
    variance = 1 / (weight + tally.information)
    mean = variance * (weight * prior + tally.information * tally.effect)
    half = special.ndtri(0.975) * np.sqrt(variance)
    return tally.ratio(mean), tally.ratio(mean - half), tally.ratio(mean + half)


def _stores(window: Window, tally: Tally, spread: Spread, coefficients: Floats, fifth: Ints) -> Stores:
    """Sum the checks by store, and compare those at self-checkouts with what staffed tills of the chain would make."""

    def by_store(values: Floats) -> Floats:
        return sum_by(window.store, values, window.n_stores)

    sales = np.stack([by_store(column) for column in tally.sales.T], axis=1)
    of_store = Tally(
        made=by_store(tally.made),
        expected=by_store(tally.expected),
        information=by_store(tally.information),
        sales=sales,
        bins=tally.bins,
    )
    half = special.ndtri(0.975) * np.sqrt(spread.store_variance)
    own = window.self_checkout
    rows = _circumstances(own, own.age_year.astype(np.float64), fifth, window.n_blocks)
    log_odds = checks.log_odds(coefficients, rows, window.n_blocks)
    at_self = Tally.of(own.cashier, window.n_stores, own.n, own.n_checked, log_odds)
    return Stores(
        made=of_store.made,
        expected=of_store.expected,
        ratio=of_store.ratio(spread.store_effect),
        ratio_low=of_store.ratio(spread.store_effect - half),
        ratio_high=of_store.ratio(spread.store_effect + half),
        self_made=at_self.made,
        self_expected=at_self.expected,
    )
