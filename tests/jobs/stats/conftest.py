"""Synthetic receipts for the tests of statistics. An estimated age is true age + shift + normal error."""

import importlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy import stats

from jobs.stats.affinity import AffinityModel, Estimates, Level, Window
from jobs.stats.ages import YEARS

LIMITS = [0, 18, 30, 45, 60, 101]


def normal_error(sd_years: float, shift_years: float = 0.0) -> np.ndarray:
    """Return P(estimated age | true age), (101, 101)."""
    edges = np.concatenate([[-np.inf], YEARS[1:] - 0.5, [np.inf]])
    return np.diff(stats.norm.cdf(edges, YEARS[:, None] + shift_years, sd_years), axis=1)


@pytest.fixture
def normal_kernel() -> Callable[..., np.ndarray]:
    return normal_error


@pytest.fixture
def shopper_ages() -> np.ndarray:
    """Shares of true ages with two humps, (101,)."""
    share = 0.6 * stats.norm.pdf(YEARS, 30, 9) + 0.4 * stats.norm.pdf(YEARS, 62, 11) + 1e-5
    return share / share.sum()


@pytest.fixture(scope="session")
def cashier_chains() -> ModuleType:
    """Return the module that draws sales of honest and planted cashiers for the benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "bench")
        return importlib.import_module("cashier_chains")


class Chain:
    """Stores with given true ages of shoppers, (S, 101), and the error of their model."""

    bands = np.array([(low <= YEARS) & (high > YEARS) for low, high in pairwise(LIMITS)])

    def __init__(self, seed: int, ages: np.ndarray, kernel: np.ndarray, n: int = 20_000) -> None:
        """Draw n receipts, spread evenly over the stores."""
        self.rng, self.ages, self.kernel = np.random.default_rng(seed), ages, kernel
        self.counts = np.stack([self.rng.multinomial(n // len(ages), share @ kernel) for share in ages]).astype(float)

    def window(self, replicates: list[np.ndarray] | None = None) -> Window:
        kernels = np.array(replicates or []).reshape(-1, 101, 101)
        return Window(counts_by_store=self.counts, kernel=self.kernel, replicates=kernels)

    def item(self, n: int, effect: np.ndarray | float = 0.0, stores: list[int] | None = None) -> np.ndarray:
        """Draw n receipts with an item of affinity exp(effect), by store and estimated age, (S, 101)."""
        share = (self.ages * np.exp(np.broadcast_to(effect, 101))) @ self.kernel
        if stores is not None:
            share = share * np.isin(np.arange(len(share)), stores)[:, None]
        return self.rng.multinomial(n, (share / share.sum()).ravel()).reshape(share.shape).astype(float)

    def items(self, n: int, effects: list[np.ndarray]) -> Level:
        return self.level([self.item(n, effect) for effect in effects])

    @staticmethod
    def level(items: list[np.ndarray], parent: list[int] | None = None, min_age: list[int] | None = None) -> Level:
        """Build a level from receipts by store and age, (I, S, 101)."""
        counts, zeros = np.array(items), np.zeros(len(items), dtype=np.int64)
        return Level(
            counts=counts.sum(axis=1),
            by_store=counts.sum(axis=2),
            parent=zeros if parent is None else np.array(parent),
            min_age=zeros if min_age is None else np.array(min_age),
        )

    def estimate(
        self, *levels: Level, dispersion: float = 1.0, replicates: list[np.ndarray] | None = None
    ) -> list[Estimates]:
        return AffinityModel(self.window(replicates), dispersion).estimate(levels, self.bands)

    def true_log_index(self, effect: np.ndarray | float) -> np.ndarray:
        """Return log(index / 100) of each band, summed over years."""
        share = self.ages.mean(axis=0)
        bought = share * np.exp(np.broadcast_to(effect, 101))
        return np.array([np.log(bought[b].sum() / share[b].sum() / bought.sum() * share.sum()) for b in self.bands])

    def naive_log_index(self, counts: np.ndarray) -> np.ndarray:
        """Return the same from hard bands of estimated ages, for counts (101,)."""
        receipts = self.counts.sum(axis=0)
        return np.log((self.bands @ counts / counts.sum()) / (self.bands @ receipts / receipts.sum()))


@pytest.fixture
def make_chain(shopper_ages: np.ndarray) -> Callable[..., Chain]:
    """Draw a chain of five stores with the same ages and an error of 7 years, unless told otherwise."""

    def make(seed: int, ages: np.ndarray | None = None, kernel: np.ndarray | None = None, n: int = 20_000) -> Chain:
        ages = np.tile(shopper_ages, (5, 1)) if ages is None else ages
        return Chain(seed, ages, normal_error(7) if kernel is None else kernel, n)

    return make
