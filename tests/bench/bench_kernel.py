"""How many till photos a chain needs to measure the errors of its ages.

Run: `make bench-kernel`, or this file with flags. In the truth, the cameras of the tills shift all estimates, by
default by 2 years. The kernel is fitted to pairs drawn at the tills, for several numbers of photos, and to pairs of a
labelled set, which lack the shift. Each fit is compared with the truth; the columns are:

- mean_years, spread_relative: root mean square error of the mean error, years, and of its standard deviation, relative,
  over the ages 15 to 79, weighted by the shoppers of each age.
- bands: mean absolute error of P(estimated in band | true in band).
- log_index: root mean square error of the logarithm of the index of a band, corrected by the kernel, over items whose
  purchases rise or fall with age and have a peak. The counts have no chance, so only the error of the kernel and the
  smoothing of the correction are left; compare with the rows "no correction" and "true kernel".
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import optimize

from model import kernel
from model.evaluation.metrics import BANDS

Floats = kernel.Floats
YEARS = np.arange(kernel.N_AGES)
IN_BAND = np.array([(low <= YEARS) & (high >= YEARS) for low, high in BANDS.values()], float)
SHOPPERS = np.exp(-0.5 * ((YEARS - 45) / 18) ** 2) * ((YEARS >= 10) & (YEARS <= 90))
SHOPPERS /= SHOPPERS.sum()
JUDGED = np.where((YEARS >= 15) & (YEARS < 80), SHOPPERS, 0)

# Errors of a model whose mean absolute error is 5 years: mean and standard deviation by true age, years.
MEAN = np.interp(YEARS, [0, 5, 15, 25, 35, 45, 55, 65, 75, 85], [0.6, 0.5, 3.3, 1, 0.5, -2, -3.9, -5, -6.5, -8])
SPREAD = np.interp(YEARS, [0, 5, 15, 25, 35, 45], [1.5, 2.5, 6, 5, 6.8, 9.5])

N_RECEIPTS = 5_000
"""Weight of an item's counts against the prior of its curve."""
CURVE_SD = 0.4
"""Prior standard deviation of the logarithm of an item's purchases by age."""


def basis(length_years: float, n: int) -> Floats:
    """Return the leading eigenvectors (101, n) of a squared-exponential process, each scaled by its deviation."""
    covariance = np.exp(-0.5 * (np.subtract.outer(YEARS, YEARS) / length_years) ** 2)
    values, vectors = np.linalg.eigh(covariance)
    return vectors[:, -n:] * np.sqrt(values[-n:])


BASIS = np.column_stack([(YEARS - 45) / 30, basis(12, 12)])


def curve(counts: Floats, start: Floats, probability: Floats, exposure: Floats, prior_sd: float) -> Floats:
    """Return start * exp(curve), (101,), whose estimated ages fit the counts (101,), by penalised likelihood."""

    def loss(weights: Floats) -> tuple[float, Floats]:
        density = start * np.exp(BASIS @ weights)
        expected = np.maximum((density @ probability) * exposure, 1e-12)
        expected, density = expected / expected.sum(), density / expected.sum()
        slope = (
            (counts / expected * exposure) @ probability.T * density - counts.sum() * density * (probability @ exposure)
        ) @ BASIS
        return -counts @ np.log(expected) + 0.5 * weights @ weights / prior_sd**2, -slope + weights / prior_sd**2

    fitted = optimize.minimize(loss, np.zeros(BASIS.shape[1]), jac=True, method="L-BFGS-B")
    return start * np.exp(BASIS @ fitted.x)


def index(of_item: Floats, of_all: Floats) -> Floats:
    """Return the logarithm of the index of each band: its penetration over that of all."""
    return np.log((IN_BAND @ of_item) / (IN_BAND @ of_all) * of_all.sum() / of_item.sum())


def index_error(purchases: Floats, truth: Floats, fitted: Floats | None) -> float:
    """Return the error of the log index; of hard bands if there is no fitted kernel.

    Args:
        purchases: (I, 101) shares of the receipts of each age that contain the item.
        truth: (101, 101) kernel of the tills.
        fitted: (101, 101) kernel of the correction.
    """
    everybody = SHOPPERS @ truth
    if fitted is not None:
        n = 50_000 * everybody
        ages = curve(n, np.full(kernel.N_AGES, 1 / kernel.N_AGES), fitted, np.ones(kernel.N_AGES), 3.0)
        exposure = everybody / np.maximum(ages @ fitted, 1e-12)
    squares = []
    for share in purchases:
        of_item = (SHOPPERS * share) @ truth
        true_index = index(SHOPPERS * share, SHOPPERS)
        if fitted is None:
            estimated = index(of_item, everybody)
        else:
            counts = N_RECEIPTS * of_item / of_item.sum()
            estimated = index(curve(counts, ages, fitted, exposure, CURVE_SD), ages)
        squares.append((IN_BAND @ SHOPPERS) @ (estimated - true_index) ** 2)
    return float(np.sqrt(np.mean(squares)))


def items(random: np.random.Generator, n: int) -> Floats:
    """Draw (n, 101) shares: a trend with age and a peak."""
    trend = random.normal(0, 0.3, (n, 1)) * (YEARS - 45) / 20
    peak = random.normal(0, 0.5, (n, 1)) * np.exp(-0.5 * ((YEARS - random.uniform(18, 75, (n, 1))) / 10) ** 2)
    return np.exp(trend + peak)


def drawn(random: np.random.Generator, probability: Floats, n: int) -> tuple[np.ndarray, Floats]:
    """Draw n pairs of shoppers from a kernel."""
    ages = random.choice(kernel.N_AGES, n, p=SHOPPERS)
    years = np.array([random.choice(kernel.N_AGES, p=probability[age]) for age in ages])
    return ages, years + random.uniform(-0.5, 0.5, n)


def errors(fitted: Floats, truth: Floats) -> dict[str, float]:
    """Return the errors of a fitted kernel, except that of the index."""
    (mean, spread), (true_mean, true_spread) = map(moments, (fitted, truth))
    rms = {
        name: np.sqrt(JUDGED @ error**2 / JUDGED.sum())
        for name, error in (("mean_years", mean - true_mean), ("spread_relative", spread / true_spread - 1))
    }
    shares, true_shares = (kernel.band_shares(each, SHOPPERS, list(BANDS.values())) for each in (fitted, truth))
    return {**rms, "bands": float(np.abs(shares - true_shares).mean())}


def moments(probability: Floats) -> tuple[Floats, Floats]:
    mean = probability @ YEARS
    return mean - YEARS, np.sqrt((probability * (YEARS - mean[:, None]) ** 2).sum(axis=1))


def labelled_set(held_out: Path | None) -> tuple[np.ndarray, Floats]:
    """Return many pairs, without the shift of the tills."""
    if held_out:
        rows = pd.read_csv(held_out)
        return rows["real_age"].to_numpy(), rows["age_years"].to_numpy(float)
    random = np.random.default_rng(0)
    ages = random.integers(1, 90, 100_000)
    return ages, ages + MEAN[ages] + SPREAD[ages] * (random.gamma(9, size=len(ages)) - 9) / 3


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--held-out", type=Path, help="held_out.csv of a model folder, as the truth before the shift")
    parser.add_argument("--shift-years", type=float, default=2.0, help="of all estimates at the tills")
    parser.add_argument("--photos", type=int, nargs="+", default=[50, 100, 200, 500, 1000, 2000])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--items", type=int, default=30)
    flags = parser.parse_args()

    ages, estimates = labelled_set(flags.held_out)
    without_shift, truth = kernel.fit(ages, estimates), kernel.fit(ages, estimates + flags.shift_years)
    fits: dict[str, Callable[[np.random.Generator], Floats | None]] = {
        "no correction": lambda _: None,
        "true kernel": lambda _: truth,
        "labelled set, 1650": lambda random: kernel.fit(*drawn(random, without_shift, 1650)),
        **{f"tills, {n}": lambda random, n=n: kernel.fit(*drawn(random, truth, n)) for n in flags.photos},
    }
    rows = []
    for name, fit in fits.items():
        started, of_seeds = time.perf_counter(), []
        for seed in range(flags.seeds):
            random = np.random.default_rng(seed)
            purchases = items(random, flags.items)
            fitted = fit(random)
            index_rmse = {"log_index": index_error(purchases, truth, fitted)}
            of_seeds.append({**(errors(fitted, truth) if fitted is not None else {}), **index_rmse})
        frame = pd.DataFrame(of_seeds)
        worst = {"log_index_worst": frame["log_index"].max(), "seconds": time.perf_counter() - started}
        rows.append({"kernel": name, **frame.mean(), **worst})
    print(f"shift at the tills {flags.shift_years:g} years; {flags.seeds} seeds, {flags.items} items")
    print(pd.DataFrame(rows)[[*rows[1]]].to_string(index=False, float_format="%.3f"))


if __name__ == "__main__":
    main()
