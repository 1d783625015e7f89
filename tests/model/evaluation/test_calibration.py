import json

import numpy as np
import pytest
import torch
from scipy import stats

from model.evaluation import calibration, curves
from model.evaluation.calibration import Calibration, cross_fitted, fit
from model.evaluation.tables import coverage
from model.network import N_AGES, quantile

BINS = np.arange(N_AGES)


def normal(centres, sigma):
    """Distributions (N, 101) of ages around centres (N,)."""
    edges = np.concatenate([[-np.inf], BINS[:-1] + 0.5, [np.inf]])
    mass = np.diff(stats.norm.cdf(edges, loc=np.asarray(centres)[:, None], scale=sigma))
    return torch.tensor(mass, dtype=torch.float32)


def drawn(n, *, stated, actual, bias=0.0, seed=0):
    """Distributions of width `stated` around centres, and labels that lie around the same with `actual` and `bias`."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(25, 75, n)
    labels = np.clip(np.round(centres + bias + rng.normal(0, actual, n)), 0, 100).astype(np.int64)
    return normal(centres, stated), labels


def mean_coverage(mass, ages):
    return {level: inside.mean() for level, inside in coverage(mass, ages).items()}


@pytest.mark.parametrize(("stated", "actual", "bias"), [(3, 6, 0), (9, 5, 0), (5, 5, 4), (5, 5, 0)])
def test_calibration_corrects_too_narrow_too_wide_and_biased_distributions(stated, actual, bias):
    calibrate = fit(*drawn(3000, stated=stated, actual=actual, bias=bias))
    mass, ages = drawn(6000, stated=stated, actual=actual, bias=bias, seed=1)
    for level, share in mean_coverage(calibrate(mass), ages).items():
        assert share == pytest.approx(level, abs=0.025)
    if (stated, actual, bias) != (5, 5, 0):
        assert max(abs(share - level) for level, share in mean_coverage(mass, ages).items()) > 0.1


def test_calibration_removes_bias():
    calibrate = fit(*drawn(3000, stated=5, actual=5, bias=4))
    mass, ages = drawn(3000, stated=5, actual=5, bias=4, seed=1)
    assert np.mean(quantile(mass, 0.5).numpy() - ages) == pytest.approx(-4, abs=0.3)
    assert np.mean(quantile(calibrate(mass), 0.5).numpy() - ages) == pytest.approx(0, abs=0.3)


def test_young_and_old_are_calibrated_separately():
    rng = np.random.default_rng(0)
    centres = np.concatenate([rng.uniform(15, 30, 2000), rng.uniform(60, 75, 2000)])
    width = np.repeat([2.0, 10.0], 2000)
    ages = np.clip(np.round(centres + rng.normal(0, width)), 0, 100).astype(np.int64)
    covered = coverage(cross_fitted(normal(centres, 5), ages), ages)
    for half in (slice(0, 2000), slice(2000, 4000)):
        for level, inside in covered.items():
            assert inside[half].mean() == pytest.approx(level, abs=0.04)


def test_calibrated_probabilities_are_not_negative_and_sum_to_1():
    calibrate = fit(*drawn(500, stated=3, actual=6))
    extreme = torch.zeros(3, N_AGES)
    extreme[0, 0] = extreme[1, 100] = 1
    extreme[2] = 1 / N_AGES
    mass = torch.cat([extreme, drawn(50, stated=3, actual=6, seed=1)[0]])
    calibrated = calibrate(mass)
    assert (calibrated >= 0).all()
    assert calibrated.sum(dim=1).tolist() == pytest.approx([1] * 53, abs=1e-5)


def test_a_few_photos_change_little():
    mass, ages = drawn(300, stated=5, actual=20)
    change = [(fit(mass[:n], ages[:n])(mass) - mass).abs().sum(dim=1).mean() for n in (0, 3, 300)]
    assert change[0] < 0.01
    assert change[1] < change[2]


def test_a_photo_does_not_influence_its_own_calibration():
    mass, ages = drawn(200, stated=5, actual=5)
    other = ages.copy()
    other[7] = 100
    changed = (cross_fitted(mass, ages) - cross_fitted(mass, other)).abs().sum(dim=1)
    assert changed[7] == 0
    assert (changed > 0).sum() > 100


def test_a_single_photo_is_not_changed():
    mass, ages = drawn(1, stated=5, actual=5)
    assert torch.allclose(cross_fitted(mass, ages), mass, atol=1e-3)


def test_a_stored_calibration_is_read_back():
    mass, ages = drawn(300, stated=3, actual=6)
    fitted = fit(mass, ages)
    read = Calibration.of(curves.parse(json.loads(calibration.dump(fitted))))
    assert read.n_photos == 300
    assert torch.allclose(read(mass), fitted(mass), atol=1e-4)
    assert curves.parse(json.loads(calibration.dump(None))) is None


def test_a_calibration_file_with_the_error_kernel_of_earlier_versions_is_read():
    fitted = fit(*drawn(300, stated=3, actual=6))
    stored = {**json.loads(calibration.dump(fitted)), "error_kernel": {"n_photos": 300}}
    assert curves.parse(stored).n_photos == 300
