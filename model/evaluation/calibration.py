"""Calibration of a network's distributions, fitted to held-out photos.

A network's distribution over ages is too narrow or too wide, and differently at each age. Calibration maps its
cumulative probabilities to the frequencies observed among held-out photos (Kuleshov, Fenner and Ermon, ICML 2018), by
one curve for each predicted age. It is stored beside the weights.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from model.config import N_AGES
from model.evaluation.curves import NODE_YEARS, SCORES, Curves
from model.network import quantile

Ages = npt.NDArray[np.int64]

BANDWIDTH_YEARS = 5.0
"""A curve weights photos by a normal kernel of this width around its predicted age, years. Of 2, 3, 5, 8 and 12,
cross-fitted on 1,653 photos, 8 has the best score (CRPS 3.619; 5: 3.621, 3: 3.627, 12: 3.621, one curve for all:
3.637), but it makes intervals of predictions below ten years cover up to 7 points too much (5: 4)."""

PRIOR_PHOTOS = 10.0
"""Weight of the curve of all photos in each curve, as a number of photos."""

N_FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Curves from the network's cumulative probabilities to observed frequencies."""

    curves: Tensor  # (21, 91) float32, each rises from 0 to 1
    n_photos: int

    def __call__(self, mass: Tensor) -> Tensor:
        """Return calibrated probabilities (B, 101) for those of the network (B, 101)."""
        cumulative = mass.cumsum(dim=1).clamp(max=1)
        curves = self.curves
        position = quantile(mass, 0.5) / NODE_YEARS  # (B,)
        node = position.floor().long().clamp(max=len(curves) - 2)
        curve = torch.lerp(curves[node], curves[node + 1], (position - node)[:, None])  # (B, 91)
        scores = torch.special.ndtri(cumulative).clamp(SCORES[0], SCORES[-1])  # (B, 101)
        place = (scores - SCORES[0]) / (SCORES[1] - SCORES[0])
        below = place.floor().long().clamp(max=len(SCORES) - 2)
        mapped = torch.lerp(curve.gather(1, below), curve.gather(1, below + 1), place - below)
        # Rounding must not leave a sum below 1.
        mapped[:, -1] = 1
        return mapped.diff(dim=1, prepend=torch.zeros_like(mapped[:, :1]))

    def to(self, device: torch.device) -> "Calibration":
        """Return a copy on another device. Its arguments must be on that device too."""
        return Calibration(curves=self.curves.to(device), n_photos=self.n_photos)

    def to_json(self) -> dict[str, Any]:
        """Return the content of `calibration.json` that `curves.parse` reads."""
        return {"curves": np.round(self.curves.double().numpy(), 7).tolist(), "n_photos": self.n_photos}

    @staticmethod
    def of(stored: Curves) -> "Calibration":
        """Return the calibration of stored curves."""
        return Calibration(curves=torch.from_numpy(stored.values), n_photos=stored.n_photos)


def fit(mass: Tensor, ages: Ages) -> Calibration:
    """Fit the curves to held-out photos.

    A label is a whole year, so a photo's position in its distribution is spread evenly between the cumulative
    probabilities before and after its year (the non-randomised transform of Czado, Gneiting and Held, 2009).

    Args:
        mass: (N, 101) the network's probabilities.
        ages: (N,) labels, completed years.
    """
    cumulative = mass.double().cumsum(dim=1).clamp(max=1).numpy()
    rows = np.arange(len(ages))
    after = cumulative[rows, ages]
    before = np.where(ages > 0, cumulative[rows, ages - 1], 0)
    levels = torch.special.ndtr(torch.from_numpy(SCORES)).numpy()
    passed = np.clip((levels - before[:, None]) / np.maximum(after - before, 1e-9)[:, None], 0, 1)  # (N, 91)
    # Two photos for which the network is right keep the ends of the curve away from 0 and 1.
    curve_of_all = (passed.sum(axis=0) + 2 * levels) / (len(ages) + 2)
    median = quantile(mass, 0.5).numpy()
    nodes = np.arange(0, N_AGES, NODE_YEARS)
    weights = np.exp(-0.5 * ((median - nodes[:, None]) / BANDWIDTH_YEARS) ** 2)  # (21, N)
    curves = (weights @ passed + PRIOR_PHOTOS * curve_of_all) / (weights.sum(axis=1, keepdims=True) + PRIOR_PHOTOS)
    curves[:, 0], curves[:, -1] = 0, 1
    return Calibration(curves=torch.tensor(curves, dtype=torch.float32), n_photos=len(ages))


def cross_fitted(mass: Tensor, ages: Ages) -> Tensor:
    """Return (N, 101) probabilities in which each photo is calibrated by the other folds, as a new photo would be.

    With ten folds, all held-out photos serve both calibration and evaluation. Copies of a picture may be in
    different folds.
    """
    calibrated = torch.empty_like(mass)
    for fold in _folds(len(ages)):
        calibrated[fold] = fit(mass[~fold], ages[~fold.numpy()])(mass[fold])
    return calibrated


def _folds(n: int) -> Iterator[Tensor]:
    turn = torch.from_numpy(np.random.default_rng(0).permutation(n) % min(N_FOLDS, n))
    return (turn == fold for fold in range(min(N_FOLDS, n)))


def dump(calibration: Calibration | None) -> str:
    """Return the text of `calibration.json`."""
    return json.dumps({"calibration": calibration and calibration.to_json()}) + "\n"
