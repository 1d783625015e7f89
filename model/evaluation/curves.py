"""The stored form of a calibration, `calibration.json`. Read without torch, so that a driver can check it."""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from model.config import N_AGES

NODE_YEARS = 5
"""Curves are stored for predicted ages 0, 5, ... 100 and interpolated in between."""

SCORES = np.linspace(-4.5, 4.5, 91)
"""Points of a curve, as quantiles of the normal distribution. If a network's distributions are far too narrow, most
labels are in their outermost millionths; steps of one percent are too coarse there."""


class Curves(NamedTuple):
    """Curves from the network's cumulative probabilities to observed frequencies."""

    values: npt.NDArray[np.float32]  # (21, 91), each rises from 0 to 1
    n_photos: int


def parse(content: Any) -> Curves | None:
    """Return the curves of the content of `calibration.json`; None for a model without a distribution.

    Raises:
        ValueError: these are no curves that rise from 0 to 1, or no number of photos.
    """
    if not isinstance(content, dict) or "calibration" not in content:
        raise ValueError("it lacks the entry calibration")
    stored = content["calibration"]
    if stored is None:
        return None
    try:
        curves, n_photos = np.array(stored["curves"]), stored["n_photos"]
    except (KeyError, TypeError, ValueError) as error:  # ValueError: of rows of different lengths
        raise ValueError(f"curves and n_photos are wanted: {type(error).__name__} {error}") from None
    if type(n_photos) is not int or n_photos < 0:
        raise ValueError(f"n_photos is {n_photos!r:.80}; it must be a whole number, at least 0")
    wanted = (len(range(0, N_AGES, NODE_YEARS)), len(SCORES))
    if curves.shape != wanted or curves.dtype.kind not in "fiu":
        raise ValueError(f"curves are {curves.dtype} of the shape {curves.shape}; wanted numbers of {wanted}")
    values = curves.astype(np.float32)
    # NaN is neither below nor above, so it fails too.
    if not ((np.diff(values) >= 0).all() and (values[:, 0] == 0).all() and (values[:, -1] == 1).all()):
        raise ValueError("a curve does not rise from 0 to 1")
    return Curves(values, n_photos)
