import numpy as np
import pytest
import torch

from model.evaluation.calibration import fit
from model.evaluation.predictions import predictions
from model.network import N_AGES


def test_held_out_photos_are_calibrated_by_each_other_and_others_by_the_stored_calibration():
    ages = np.tile(np.arange(20, 70), 20)
    labels = ages + np.random.default_rng(0).integers(-4, 5, len(ages))
    off_by_five = -((torch.arange(N_AGES) - torch.tensor(ages[:, None]) - 5) ** 2) / 18
    right = -((torch.arange(N_AGES) - torch.tensor(ages[:, None])) ** 2) / 18
    stored = fit(torch.softmax(right, dim=1), labels)
    held_out = np.arange(len(ages)) % 2 == 0
    error = predictions(off_by_five, labels, held_out, stored).age_years - ages
    assert [error[held_out].mean(), error[~held_out].mean()] == pytest.approx([0, 5], abs=0.5)
