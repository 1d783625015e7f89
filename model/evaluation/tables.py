"""What a model's predictions are worth: pure functions from predictions and labels to tables. Ages are in years.

Every table is a DataFrame whose columns say what they hold; shares and probabilities are 0-1.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional

from model.evaluation.calibration import Calibration, cross_fitted
from model.evaluation.metrics import (
    DECADES,
    Ages,
    Bools,
    Floats,
    Interval,
    bootstrap,
    mean_interval,
    measure,
    share_interval,
)
from model.network import decode, quantile

LEVELS = (0.5, 0.8, 0.95)
"""Of the intervals whose coverage is reported."""

TITLES = {
    "error_by_decade": "Error by decade of age",
    "at_equal_age": "MAE and bias of groups beyond those of others of the same decade of age",
    "coverage": "Coverage of intervals, before and after calibration",
    "decisions": "How often rules of thumb err",
    "reliability": "What became of stated probabilities",
}
"""Of the tables that `tables` returns; those by attribute are named after it."""


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """Labelled photos as a model sees them."""

    ages: Ages  # (N,) labels, completed years
    output: Tensor  # (N, 101) logits, or (N, 1) years
    calibrated: Tensor | None
    """(N, 101) probabilities; None for a scalar head."""

    @cached_property
    def raw(self) -> Tensor | None:
        """(N, 101) probabilities of the network itself."""
        return None if self.calibrated is None else functional.softmax(self.output.float(), dim=1)

    @cached_property
    def age_years(self) -> Floats:
        """(N,) predicted ages: medians of the calibrated probabilities, or the scalar head's years."""
        if self.calibrated is None:
            return decode(self.output).age_years.double().numpy()
        return quantile(self.calibrated, 0.5).double().numpy()


def predictions(output: Tensor, ages: Ages, held_out: Bools, calibration: Calibration | None) -> Predictions:
    """Decode a network's output (N, 101) or (N, 1).

    Args:
        output: on the CPU.
        ages: (N,) labels.
        held_out: (N,) photos that the stored calibration is learnt from. Each of them is calibrated by the others
            instead, so that its own label has no part in it.
        calibration: what is stored, for the other photos; None where there is none.
    """
    if output.shape[1] == 1:
        return Predictions(ages=ages, output=output, calibrated=None)
    mass = functional.softmax(output.float(), dim=1)
    calibrated = mass.clone() if calibration is None else calibration(mass)
    calibrated[torch.from_numpy(held_out)] = cross_fitted(mass[torch.from_numpy(held_out)], ages[held_out])
    return Predictions(ages=ages, output=output, calibrated=calibrated)


def completed_years(age_years: Ages | Floats) -> Ages:
    """Return the whole years (N,) that a person of an estimated age is taken to have completed, as age bands do."""
    years: Ages = np.floor(np.asarray(age_years) + 0.5).astype(np.int64)
    return years


def decades(ages: Ages | Floats) -> npt.NDArray[np.str_]:
    """Return the decade of each age (N,): `00-09`, `10-19`, ... `90-100`."""
    names: npt.NDArray[np.str_] = np.array(list(DECADES))[np.clip(completed_years(ages) // 10, 0, 9)]
    return names


def error_by(groups: npt.NDArray[np.str_], predicted: Floats, ages: Ages, *, constant: float) -> pd.DataFrame:
    """Return one row per group in `groups` (N,): the figures of `Metrics`."""
    rows = [
        {"group": name, **asdict(measure(predicted[groups == name], ages[groups == name], constant=constant))}
        for name in np.unique(groups)
    ]
    return pd.DataFrame(rows)


def at_equal_age(attributes: Mapping[str, npt.NDArray[np.str_]], predicted: Floats, ages: Ages) -> pd.DataFrame:
    """Return one row per group of each attribute: its MAE and bias beyond those of others of the same decade of label.

    Errors grow with age, so a group of older people has larger ones however fairly it is treated. Here each of its
    photos' errors is taken less the mean of the decade's photos of other groups, and photos without such others are
    left out: 0 is a group that is judged as others of its age. Intervals: bootstrap over all photos.

    Args:
        attributes: groups (N,) by name, such as sex.
        predicted: (N,) years.
        ages: (N,) labels.
    """
    error, decade = predicted - ages, np.unique(decades(ages), return_inverse=True)[1]
    return pd.DataFrame(
        [
            {"of": name, "group": group, "n": int(mine.sum())}
            | _columns("mae_beyond", _beyond_others(np.abs(error), mine, decade))
            | _columns("bias_beyond", _beyond_others(error, mine, decade))
            for name, groups in attributes.items()
            for group in np.unique(groups)
            for mine in [groups == group]
        ]
    )


def _beyond_others(values: Floats, mine: Bools, stratum: Ages) -> Interval:
    """Return the mean of `values` (N,) of one group, each less that of others in its stratum (0, 1, ...)."""
    n = stratum.max() + 1

    def beyond(rows: Ages) -> float:
        ours, others = rows[mine[rows]], rows[~mine[rows]]
        n_others = np.bincount(stratum[others], minlength=n)
        theirs = np.bincount(stratum[others], values[others], minlength=n) / np.maximum(n_others, 1)
        ours = ours[n_others[stratum[ours]] > 0]
        return float((values[ours] - theirs[stratum[ours]]).mean()) if len(ours) else np.nan

    return bootstrap(np.arange(len(values)), beyond)


def coverage(mass: Tensor, ages: Ages) -> dict[float, Floats]:
    """Return for each level how much of each photo's year of age (N,) lies within the central interval: 0-1.

    A label is a whole year; an interval that ends inside it covers the part of the year that it holds. Years are
    measured by their cumulative probability, so that ages 0 and 100 can be covered too.
    """
    cumulative = mass.double().cumsum(dim=1).numpy()
    rows = np.arange(len(ages))
    after = cumulative[rows, ages]
    before = np.where(ages > 0, cumulative[rows, ages - 1], 0)
    found = {}
    for level in LEVELS:
        low, high = (1 - level) / 2, (1 + level) / 2
        inside = np.minimum(after, high) - np.maximum(before, low)
        found[level] = np.clip(inside / np.maximum(after - before, 1e-12), 0, 1)
    return found


def coverage_table(found: Predictions) -> pd.DataFrame:
    """Return coverage before and after calibration: over all, by decade of predicted age, by decade of label.

    Which decade a photo belongs to is known to a user by its prediction alone, so that is where calibration makes
    intervals hold. By label the same intervals do not: the oldest of those who look 70 are under-estimated.
    """
    if found.raw is None or found.calibrated is None:
        return pd.DataFrame(columns=["of", "group", "n", "level", "before", "after"])
    before, after = coverage(found.raw, found.ages), coverage(found.calibrated, found.ages)
    sets = {
        "all": np.full(len(found.ages), "all"),
        "predicted decade": decades(found.age_years),
        "labelled decade": decades(found.ages),
    }
    return pd.DataFrame(
        [
            {"of": of, "group": name, "n": int(rows.sum()), "level": level}
            | {"before": before[level][rows].mean(), "after": after[level][rows].mean()}
            for of, groups in sets.items()
            for name in np.unique(groups)
            for rows in [groups == name]
            for level in LEVELS
        ]
    )


def decisions(predicted: Floats, ages: Ages) -> pd.DataFrame:
    """Return how often an age rule of thumb errs: minors taken for 25 or more, and adults of 25 or more for less."""
    minors, adults = (ages >= 14) & (ages <= 17), ages >= 25
    taken_for = completed_years(predicted)
    rows: list[tuple[str, Bools]] = [
        ("predicted 25 or more, of those aged 14-17", taken_for[minors] >= 25),
        ("predicted under 25, of those aged 25 or more", taken_for[adults] < 25),
    ]
    return pd.DataFrame(
        [{"what": what, "n": len(hits), **_columns("share", share_interval(hits))} for what, hits in rows]
    )


def reliability(found: Predictions) -> pd.DataFrame:
    """Return what became of stated probabilities: P(under 18) and P(under 25), in ten steps, before and after."""
    if found.raw is None or found.calibrated is None:
        return pd.DataFrame(columns=["of", "calibration", "n", "stated", "share", "share_low", "share_high"])
    rows = []
    for limit in (18, 25):
        truth = found.ages < limit
        for name, mass in (("before", found.raw), ("after", found.calibrated)):
            stated = mass[:, :limit].sum(dim=1).double().numpy()
            step = np.minimum((stated * 10).astype(int), 9)
            for one in np.unique(step):
                hits = truth[step == one]
                rows.append(
                    {"of": f"under {limit}", "calibration": name, "n": len(hits), "stated": stated[step == one].mean()}
                    | _columns("share", share_interval(hits))
                )
    return pd.DataFrame(rows)


def tables(
    found: Predictions, attributes: Mapping[str, npt.NDArray[np.str_]], *, constant: float
) -> dict[str, pd.DataFrame]:
    """Return every table of a judgement by name.

    Args:
        found: the photos.
        attributes: groups (N,) by name, such as sex.
        constant: age, years, that the baseline answers for everybody.
    """
    groups = {**attributes, "decade": decades(found.ages)}
    errors = {
        f"error_by_{name}": error_by(values, found.age_years, found.ages, constant=constant)
        for name, values in groups.items()
    }
    if attributes:
        errors["at_equal_age"] = at_equal_age(attributes, found.age_years, found.ages)
    return {
        **errors,
        "coverage": coverage_table(found),
        "decisions": decisions(found.age_years, found.ages),
        "reliability": reliability(found),
    }


def title(name: str) -> str:
    """Return what to call a table of `tables`."""
    return TITLES.get(name, name.replace("_", " ").capitalize())


def compare(predicted: Floats, other: Floats, ages: Ages) -> tuple[Interval, str]:
    """Compare two models on the same photos: how much smaller the first one's MAE is, years, and a verdict."""
    gain = mean_interval(np.abs(other - ages) - np.abs(predicted - ages))
    if gain.low > 0:
        verdict = "better than the other"
    elif gain.high < 0:
        verdict = "worse than the other"
    else:
        verdict = "not shown to differ from the other"
    return gain, f"{verdict}: MAE differs by {-gain.estimate:+.2f} years (95 % {-gain.high:+.2f} to {-gain.low:+.2f})"


def _columns(name: str, interval: Interval) -> dict[str, float]:
    return {name: interval.estimate, f"{name}_low": interval.low, f"{name}_high": interval.high}
