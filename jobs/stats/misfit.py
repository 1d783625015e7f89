"""Is there any mix of true ages that explains the estimated ages? If there is none, look at cameras and model.

Shoppers can be of any ages, so a shift of the estimates alone says little. But estimates are true ages blurred by the
errors of the model, and no mix of true ages gives a histogram that is narrower than these errors, such as that of a
covered camera, whose photos all look the same age.

Sources: nonparametric maximum likelihood of a mixture: Lindsay 1983, Annals of Statistics 11; by EM: Richardson 1972,
Journal of the Optical Society of America 62, and Lucy 1974, Astronomical Journal 79; parametric bootstrap of the
deviance: McLachlan 1987, Applied Statistics 36.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from jobs.stats.ages import Floats
from jobs.stats.drift import FALSE_ALARM

N_STEPS = 60
"""Steps of EM, for the counts and for each bootstrap alike: what it leaves unexplained is the same in both."""

FLOOR = 1e-4
"""Share of the photos that can have any estimated age, so that one odd photo is no infinite misfit."""


@dataclass(frozen=True, kw_only=True)
class Misfit:
    """What no mix explains, for S rows of counts."""

    share: Floats  # (S,) half of the sum of |observed - explained| / photos: 0 to 1
    z: Floats  # (S,) misfit less its mean under no misfit, in standard deviations
    limit: float
    """The largest z of all rows is beyond it with a probability of about `FALSE_ALARM` if every row is a mix."""


def best_mix(counts: Floats, kernel: Floats) -> Floats:
    """Return the shares of true ages that explain the counts best, (S, A).

    EM for p = g K with any g: g_a <- g_a sum_e (n_e / n) K[a, e] / p_e, from a uniform g.

    Args:
        counts: (S, E) photos by estimated age, each row with at least one.
        kernel: (A, E) P(estimated age | true age), rows true age; each E possible.
    """
    observed = counts / counts.sum(axis=1, keepdims=True)
    mix: Floats = np.full((len(counts), len(kernel)), 1 / len(kernel))
    for _ in range(N_STEPS):
        mix *= (observed / (mix @ kernel)) @ kernel.T
    mix /= mix.sum(axis=1, keepdims=True)
    return mix


def root_deviance(counts: Floats, shares: Floats) -> Floats:
    """Return sqrt(2 sum_e n_e ln(n_e / (n p_e)) / n), (S,): about normal, and comparable between numbers of photos."""
    n = counts.sum(axis=1, keepdims=True)
    ratio = np.where(counts > 0, counts / (n * shares), 1)
    root: Floats = np.sqrt(2 * np.maximum((counts * np.log(ratio)).sum(axis=1), 0) / n[:, 0])
    return root


def misfit(counts: Floats, kernel: Floats, replicates: Floats, seed: int = 0) -> Misfit:
    """Return how much of each row no mix of true ages explains, in units of its noise.

    Parametric bootstrap: the fitted mix is blurred by a replicate of the kernel instead of the kernel, counts are
    drawn, and explained with the kernel. So the noise contains chance and the error of the kernel, which is known from
    few pairs. The limit is the t quantile of FALSE_ALARM / S with R - 1 degrees of freedom.

    Args:
        counts: (S, 101) photos by estimated age, each row with at least one.
        kernel: (101, 101) P(estimated age | true age), rows true age.
        replicates: (R, 101, 101) refits of the kernel, R at least 2.
        seed: of the random numbers.
    """
    rng = np.random.default_rng(seed)
    kernel = (1 - FLOOR) * kernel + FLOOR / kernel.shape[1]
    n = counts.sum(axis=1)
    mix = best_mix(counts, kernel)
    shares: Floats = mix @ kernel
    found = root_deviance(counts, shares)
    blurred = mix @ replicates  # (R, S, 101)
    drawn = rng.multinomial(n.astype(np.int64), blurred / blurred.sum(axis=2, keepdims=True)).astype(float)
    drawn = drawn.reshape(-1, len(kernel))
    under_none = root_deviance(drawn, best_mix(drawn, kernel) @ kernel).reshape(len(replicates), len(counts))
    mean, deviation = under_none.mean(axis=0), under_none.std(axis=0, ddof=1)
    return Misfit(
        share=0.5 * np.abs(counts / n[:, None] - shares).sum(axis=1),
        z=(found - mean) / np.maximum(deviation, 1e-12),
        limit=float(stats.t.isf(FALSE_ALARM / len(counts), len(replicates) - 1)),
    )
