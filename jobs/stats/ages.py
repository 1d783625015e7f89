"""Years of age: arrays, bins, and smooth functions of age.

Ages are completed years 0 to 100. Model fits use bins of two years, because they are four times as fast and an error
of age of five years or more hides anything narrower; published figures are computed from single years.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

N_YEARS = 101
YEARS: Ints = np.arange(N_YEARS)
_BIN: Ints = YEARS // 2


def in_bins(by_year: Floats) -> Floats:
    """Sum single years (..., 101) to bins of two years (..., 51).

    >>> in_bins(np.ones((1, 101))).shape
    (1, 51)
    """
    sums: Floats = np.add.reduceat(by_year, np.flatnonzero(np.diff(_BIN, prepend=-1)), axis=-1)
    return sums


def warp(age_years: Floats | Ints) -> Floats:
    """Return u = ln(1 + age / 20), shifted and scaled so that ages 15 to 80 span 0 to 1.

    Habits change faster at 20 than at 70, so functions of u have one smoothness at all ages.
    """
    low, high = np.log1p(15 / 20), np.log1p(80 / 20)
    warped: Floats = (np.log1p(np.asarray(age_years) / 20) - low) / (high - low)
    return warped


def smooth_basis(weight: Floats, n_functions: int, length: float, *, linear: bool = False) -> Floats:
    """Return functions of age whose random combinations are smooth curves of variance 1.

    The functions are the leading eigenvectors, times the roots of their eigenvalues, of a Gaussian process with
    covariance exp(-(u - u')^2 / (2 length^2)) in `warp`ed age; see Rasmussen and Williams (2006), sections 4.2 and 4.3.

    Args:
        weight: (101,) how much each year of age counts; the functions have the weighted mean 0.
        n_functions: number of eigenvectors.
        length: length scale; 1 is the distance from 15 to 80 years.
        linear: put a linear function of u, of variance 1, before the others.

    Returns:
        (101, n_functions), or one more with `linear`.
    """
    share = weight / weight.sum()
    u = warp(YEARS)
    covariance = np.exp(-0.5 * ((u[:, None] - u) / length) ** 2)
    root = np.sqrt(share + 1e-4)
    values, vectors = np.linalg.eigh(root[:, None] * covariance * root)
    functions = vectors[:, ::-1][:, :n_functions] / root[:, None] * np.sqrt(values[::-1][:n_functions])
    if linear:
        line = u - share @ u
        functions = np.column_stack([line / np.sqrt(max(share @ line**2, 1e-12)), functions])
    centred: Floats = functions - share @ functions
    return centred
