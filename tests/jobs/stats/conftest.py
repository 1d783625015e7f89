"""Error kernels for the tests of statistics: estimate = age + shift + normal error."""

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

YEARS = np.arange(101)


@pytest.fixture
def normal_kernel() -> Callable[..., np.ndarray]:
    """Build P(estimated age | true age), (101, 101), of a normal error with a standard deviation in years."""

    def build(sd_years: float, shift_years: float = 0.0) -> np.ndarray:
        edges = np.concatenate([[-np.inf], YEARS[1:] - 0.5, [np.inf]])
        return np.diff(stats.norm.cdf(edges, YEARS[:, None] + shift_years, sd_years), axis=1)

    return build


@pytest.fixture
def shopper_ages() -> np.ndarray:
    """Shares of true ages with two humps, (101,)."""
    share = 0.6 * stats.norm.pdf(YEARS, 30, 9) + 0.4 * stats.norm.pdf(YEARS, 62, 11) + 1e-5
    return share / share.sum()
