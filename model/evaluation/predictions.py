"""Predictions for labelled photos: distributions before and after calibration, and ages."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from model.evaluation.calibration import Calibration, cross_fitted
from model.evaluation.metrics import Ages, Bools, Floats
from model.network import decode, quantile


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """A model's predictions for N labelled photos."""

    ages: Ages  # (N,) labels, completed years
    output: Tensor  # (N, 101) logits, or (N, 1) years
    calibrated: Tensor | None
    """(N, 101) probabilities; None for a scalar head."""

    @cached_property
    def uncalibrated(self) -> Tensor | None:
        """(N, 101) probabilities of the network itself; None for a scalar head."""
        return None if self.calibrated is None else functional.softmax(self.output.float(), dim=1)

    @cached_property
    def age_years(self) -> Floats:
        """(N,) predicted ages: medians of the calibrated probabilities, or the years of the scalar head."""
        if self.calibrated is None:
            return decode(self.output).age_years.double().numpy()
        return quantile(self.calibrated, 0.5).double().numpy()


def predictions(output: Tensor, ages: Ages, held_out: Bools, calibration: Calibration | None) -> Predictions:
    """Calibrate a network's output (N, 101) or (N, 1).

    Args:
        output: on the CPU.
        ages: (N,) labels.
        held_out: (N,) photos that the stored calibration was fitted to. Each of them is calibrated by the others
            instead (cross-fitting), so that its own label has no influence.
        calibration: the stored one, for the other photos; None if there is none.
    """
    if output.shape[1] == 1:
        return Predictions(ages=ages, output=output, calibrated=None)
    mass = functional.softmax(output.float(), dim=1)
    calibrated = mass.clone() if calibration is None else calibration(mass)
    rows = torch.from_numpy(held_out)
    calibrated[rows] = cross_fitted(mass[rows], ages[held_out])
    return Predictions(ages=ages, output=output, calibrated=calibrated)
