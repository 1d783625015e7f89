import subprocess
import sys
import time

import numpy as np
import pytest

from model import kernel

YEARS = np.arange(101)
# Errors as of a model of 5 years mean absolute error: by true age, years.
MEAN = np.interp(YEARS, [0, 5, 15, 25, 35, 45, 55, 65, 75, 85], [0.6, 0.5, 3.3, 1, 0.5, -2, -3.9, -5, -6.5, -8])
SPREAD = np.interp(YEARS, [0, 5, 15, 25, 35, 45], [1.5, 2.5, 6, 5, 6.8, 9.5])


def pairs(n, seed=0, ages=(3, 80)):
    """Draw true ages, evenly, and estimates from a known location-scale distribution with a skewed shape."""
    random = np.random.default_rng(seed)
    true = random.integers(*ages, n)
    return true, true + MEAN[true] + SPREAD[true] * (random.gamma(9, size=n) - 9) / 3


def mean_and_spread(probability):
    mean = probability @ YEARS
    return mean - YEARS, np.sqrt((probability * (YEARS - mean[:, None]) ** 2).sum(axis=1))


def test_the_rows_of_a_kernel_are_distributions():
    fitted = kernel.fit(*pairs(300))
    assert fitted.shape == (101, 101)
    assert fitted.min() >= 0
    assert fitted.sum(axis=1) == pytest.approx(1)


def test_mean_and_spread_of_a_known_truth_are_recovered():
    middle, children = slice(15, 76), slice(5, 15)
    errors = []
    for seed in range(10):
        mean, spread = mean_and_spread(kernel.fit(*pairs(1_650, seed)))
        errors.append([mean - MEAN, spread / SPREAD - 1])
    mean, spread = np.mean(np.square(errors), axis=0) ** 0.5
    assert mean[middle].mean() < 0.6
    assert spread[middle].mean() < 0.08
    # Smoothing the errors of neighbouring ages makes it too wide.
    assert np.mean([relative[children] for _, relative in errors]) == pytest.approx(0, abs=0.03)


def test_the_shape_of_the_errors_is_recovered():
    true, estimated = pairs(20_000, ages=(40, 41))
    counted = np.bincount(np.floor(estimated + 0.5).astype(int), minlength=101) / len(true)
    assert np.abs(kernel.fit(true, estimated)[40] - counted).sum() / 2 < 0.03


def test_the_shape_of_the_errors_may_differ_between_ages():
    random = np.random.default_rng(0)
    true = random.integers(20, 71, 20_000)
    skewed = (random.gamma(4, size=len(true)) - 4) / 2
    fitted = kernel.fit(true, true + 6 * np.where(true < 45, skewed, -skewed))
    mean, spread = mean_and_spread(fitted)
    skewness = (fitted * ((YEARS - YEARS[:, None] - mean[:, None]) / spread[:, None]) ** 3).sum(axis=1)
    assert skewness[[25, 65]] == pytest.approx([1, -1], abs=0.2)


def test_moments_agree_with_weighted_least_squares():
    true, estimated = pairs(500)
    error, age = estimated - true, 40
    weight = np.exp(-0.5 * ((true - age) / kernel.BANDWIDTH_YEARS) ** 2)
    line = np.polyfit(true - age, error, 1, w=np.sqrt(weight))
    assert kernel.moments(true, estimated)[0][age] == pytest.approx(line[1], abs=0.01)


def test_errors_are_not_extrapolated_beyond_the_ages_of_the_photos():
    mean, spread = kernel.moments(*pairs(1_000, ages=(20, 61)))
    assert mean[70:] == pytest.approx(mean[60], abs=0.1)
    assert mean[:15] == pytest.approx(mean[20], abs=0.1)
    assert spread[70:] == pytest.approx(spread[60], rel=0.05)


@pytest.mark.parametrize(
    ("true", "estimated"),
    [([30], [33.0]), ([30] * 50, [33.0] * 50), ([0, 100], [0.0, 100.0]), ([20, 60], [-3.0, 140.0])],
)
def test_few_or_equal_pairs_give_a_kernel_without_nan(true, estimated):
    fitted = kernel.fit(np.array(true), np.array(estimated))
    assert np.isfinite(fitted).all()
    assert fitted.sum(axis=1) == pytest.approx(1)


def test_an_estimate_is_rounded_half_up_to_its_year():
    ages = np.repeat([30], 300)
    assert kernel.fit(ages, ages + 0.4999 - 2)[30, 28] == pytest.approx(1)
    assert kernel.fit(ages, ages + 0.5001 - 2)[30, 29] == pytest.approx(1)


def test_replicates_vary_as_kernels_of_new_pairs_do():
    drawn = np.array([mean_and_spread(kernel.fit(*pairs(1_000, seed)))[0] for seed in range(40)])
    refitted = np.array([mean_and_spread(one)[0] for one in kernel.replicates(*pairs(1_000), 40, transfer=False)])
    assert refitted[:, 20:70].std(axis=0).mean() == pytest.approx(drawn[:, 20:70].std(axis=0).mean(), rel=0.3)


def test_transfer_adds_a_shift_of_one_year_and_a_scale_of_a_tenth():
    flat = np.repeat(np.arange(20, 60), 40), np.repeat(np.arange(20.0, 60.0), 40)
    flat[1][:] += np.tile([-4.0, 4.0], len(flat[1]) // 2)
    moments = [mean_and_spread(one) for one in kernel.replicates(*flat, 200, transfer=True)]
    assert np.std([mean[40] for mean, _ in moments]) == pytest.approx(1, rel=0.15)
    assert np.std([np.log(spread[40]) for _, spread in moments]) == pytest.approx(0.1, rel=0.15)
    without = [mean_and_spread(one)[0][40] for one in kernel.replicates(*flat, 50, transfer=False)]
    assert np.std(without) < 0.2


def test_replicates_depend_only_on_the_seed():
    true, estimated = pairs(300)
    first, again = (kernel.replicates(true, estimated, 3, seed=5, transfer=True) for _ in range(2))
    assert (first == again).all()
    assert (first != kernel.replicates(true, estimated, 3, seed=6, transfer=True)).any()


def test_twenty_replicates_take_less_than_two_seconds():
    drawn = pairs(1_650)
    started = time.process_time()
    kernel.replicates(*drawn, transfer=True)
    assert time.process_time() - started < 2  # 0.5 s on one core of an AMD EPYC


def test_version_depends_on_the_pairs_and_not_on_their_order():
    true, estimated = pairs(50)
    order = np.random.default_rng(1).permutation(50)
    known = kernel.version(true, estimated)
    assert len(known) == 12
    assert kernel.version(true[order].astype(np.int32), estimated[order]) == known
    assert kernel.version(true[:-1], estimated[:-1]) != known
    estimated[3] += 0.0001
    assert kernel.version(true, estimated) != known


def test_shares_of_bands_are_weighted_by_age():
    kernel_of_two = np.zeros((101, 101))
    kernel_of_two[:, 30] = 1
    kernel_of_two[17] = np.eye(101)[17]
    weight = np.zeros(101)
    weight[[16, 17, 40]] = 3, 1, 1
    shares = kernel.band_shares(kernel_of_two, weight, [(0, 17), (18, 59), (60, 120)])
    assert shares[0] == pytest.approx([0.25, 0.75, 0])
    assert shares[1] == pytest.approx([0, 1, 0])
    assert np.isnan(shares[2]).all()


def test_the_kernel_is_imported_without_torch():
    code = "import sys, model.kernel; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
