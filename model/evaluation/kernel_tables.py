"""The error kernel of a model beside the errors that were measured: by true age, and from band to band."""

import numpy as np
import pandas as pd

from model import kernel
from model.evaluation.metrics import BANDS, Ages, Floats, completed_years

WINDOW_YEARS = 5


def ages_of(held_out: pd.DataFrame) -> tuple[Ages, Floats]:
    """Return the true and the estimated ages, years, of the rows of `contents.read_held_out`: (M,) each."""
    return held_out["real_age"].to_numpy(np.int64), held_out["age_years"].to_numpy(np.float64)


def tables(
    pair_true_years: Ages, pair_estimated_years: Floats, true_years: Ages, estimated_years: Floats
) -> dict[str, pd.DataFrame]:
    """Return the tables of this module by name.

    Args:
        pair_true_years: (M,) true ages of the pairs to which the kernel is fitted.
        pair_estimated_years: (M,) their estimates.
        true_years: (N,) true ages of the photos that are measured.
        estimated_years: (N,) their estimates.
    """
    pairs = pair_true_years, pair_estimated_years
    return {
        "fitted_errors": by_true_age(pairs, true_years, estimated_years),
        "band_to_band": band_to_band(kernel.fit(*pairs), true_years, estimated_years),
    }


def by_true_age(pairs: tuple[Ages, Floats], true_years: Ages, estimated_years: Floats) -> pd.DataFrame:
    """Return mean and standard deviation of the error by five years of true age: measured, and fitted to the pairs.

    The fitted figures are those of `kernel.moments` at the mean age of the window's photos. All are in years.

    Args:
        pairs: true and estimated ages to which the kernel is fitted, (M,) each.
        true_years: (N,) true ages of the photos that are measured.
        estimated_years: (N,) their estimates.

    Returns:
        One row per window with photos: `from_years`, `n`, `mean_years`, `spread_years` (nan for a single photo),
        `fitted_mean_years`, `fitted_spread_years`.
    """
    mean, spread = kernel.moments(*pairs)
    frame = pd.DataFrame({"age": true_years, "error": estimated_years - true_years})
    windows = frame.groupby(frame["age"] // WINDOW_YEARS * WINDOW_YEARS)
    table = windows.agg(n=("error", "size"), mean_years=("error", "mean"), spread_years=("error", "std"))
    centre = windows["age"].mean().to_numpy()
    table["fitted_mean_years"] = np.interp(centre, np.arange(kernel.N_AGES), mean)
    table["fitted_spread_years"] = np.interp(centre, np.arange(kernel.N_AGES), spread)
    return table.rename_axis("from_years").reset_index()


def band_to_band(probability: Floats, true_years: Ages, estimated_years: Floats) -> pd.DataFrame:
    """Return, for each default band, the shares of its people by band of the estimate, 0 to 1.

    Args:
        probability: (101, 101) as `kernel.fit`.
        true_years: (N,) true ages of the photos that are measured; people of a band are taken to be as old as they are.
        estimated_years: (N,) their estimates.

    Returns:
        One row per band of the true age that has photos: `band`, `n`, `stay` (measured share that is estimated in its
        own band), `fitted_stay` (the same by the kernel), and a column `to_BAND` for each band, by the kernel.
    """
    limits = list(BANDS.values())
    shares = kernel.band_shares(probability, np.bincount(true_years, minlength=kernel.N_AGES).astype(float), limits)
    years = np.clip(completed_years(estimated_years), 0, kernel.N_AGES - 1)
    rows = []
    for number, (band, (low, high)) in enumerate(BANDS.items()):
        members = (true_years >= low) & (true_years <= high)
        if members.any():
            stays = (years[members] >= low) & (years[members] <= high)
            to_band = {f"to_{name}": share for name, share in zip(BANDS, shares[number], strict=True)}
            rows.append(
                {"band": band, "n": int(members.sum()), "stay": stays.mean(), "fitted_stay": shares[number, number]}
                | to_band
            )
    return pd.DataFrame(rows)
