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
    """Sum single years (..., 101) to bins of two years (..., 51): 0-1, 2-3, ..., 98-99, and 100 alone.

    >>> in_bins(np.arange(101))[[0, 1, 49, 50]]
    array([  1,   5, 197, 100])
    """
    sums: Floats = np.add.reduceat(by_year, np.flatnonzero(np.diff(_BIN, prepend=-1)), axis=-1)
    return sums


def warp(age_years: Floats | Ints) -> Floats:
    """Return u = ln(1 + age / 20), shifted and scaled so that ages 15 to 80 span 0 to 1.

    Habits change faster at 20 than at 70, so functions of u have one smoothness at all ages.

    Args:
        age_years: ages of 0 or more, years.

    Returns:
        u, without unit, of the same shape; below 0 under 15 years and above 1 over 80 years.

    >>> warp(np.array([0, 15, 40, 80])).round(2)
    array([-0.53,  0.  ,  0.51,  1.  ])
    """
    low, high = np.log1p(15 / 20), np.log1p(80 / 20)
    warped: Floats = (np.log1p(np.asarray(age_years) / 20) - low) / (high - low)
    return warped


def smooth_basis(weight: Floats, n_functions: int, length: float, *, linear: bool = False) -> Floats:
    """Return functions of age B whose random combinations are smooth curves of variance 1.

    If z ~ N(0, I), the curve B z is nearly a Gaussian process with covariance exp(-(u - u')^2 / (2 length^2)) in
    `warp`ed age u, less its weighted mean. With W the weights of the years and S the covariance, the columns are
    W^-1/2 v sqrt(lambda), where lambda and v are the leading eigenvalues and eigenvectors of W^1/2 S W^1/2; see
    Rasmussen and Williams (2006), "Gaussian Processes for Machine Learning", section 4.3.

    Args:
        weight: (101,) how much each year of age counts, at least one above 0; the functions have the weighted mean 0.
        n_functions: number of eigenvectors.
        length: length scale; 1 is the distance from 15 to 80 years.
        linear: put a linear function of u, of weighted variance 1, before the others. It is 0 if only one age counts.

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
