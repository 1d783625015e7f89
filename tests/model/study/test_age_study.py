from itertools import combinations

import numpy as np
import pytest

from model.evaluation.metrics import BANDS, DECADES
from model.study.age_study import (
    label_noise,
    missing_ages,
    per_attribute,
    per_range,
    photos_per_age,
    quartiles,
    rarest_ages,
    whipple_index,
)

FEW = photos_per_age(np.array([20, 20, 20, 22, 25, 25]))


def test_photos_are_counted_at_each_age_from_0_to_100():
    assert len(FEW) == len(photos_per_age(np.array([100]))) == 101
    assert {age: n for age, n in enumerate(FEW.tolist()) if n} == {20: 3, 22: 1, 25: 2}


def test_missing_ages_are_between_the_youngest_and_the_oldest():
    assert missing_ages(FEW) == [21, 23, 24]
    assert missing_ages(photos_per_age(np.array([7]))) == []


def test_the_rarest_ages_come_first_without_ages_that_do_not_occur():
    assert rarest_ages(FEW).tolist() == [22, 25, 20]
    assert rarest_ages(FEW, 2).tolist() == [22, 25]
    assert rarest_ages(photos_per_age(np.array([9, 3, 5]))).tolist() == [3, 5, 9]


def test_quartiles_are_over_the_ages_that_occur():
    assert quartiles(FEW).tolist() == [1, 1.5, 2, 2.5, 3]


def test_whipple_index_covers_ages_23_to_62():
    assert whipple_index(photos_per_age(np.arange(101))) == 100
    assert whipple_index(photos_per_age(np.array([25, 30, 60, 61]))) == 375  # three of four, a fifth is right
    assert whipple_index(photos_per_age(np.array([30] * 9 + [20, 65, 70] * 50))) == 500
    assert np.isnan(whipple_index(photos_per_age(np.array([10, 70]))))


def test_a_range_includes_both_ends():
    counted = per_range(np.array([0, 17, 18, 29, 30, 60, 99, 100]), BANDS)
    assert {band.name: band.photos for band in counted} == {
        "under_18": 2,
        "18-29": 2,
        "30-44": 1,
        "45-59": 0,
        "60_plus": 3,
    }
    assert [band.percent for band in counted] == [25, 25, 12.5, 0, 37.5]


@pytest.mark.parametrize("ranges", [BANDS, DECADES])
def test_bands_and_decades_include_every_age_once(ranges):
    assert [band.photos for band in per_range(np.arange(101), ranges)] == [
        high - low + 1 for low, high in ranges.values()
    ]
    assert sum(band.photos for band in per_range(np.arange(101), ranges)) == 101


def test_the_error_interval_is_computed_for_the_held_out_tenth():
    sixties = per_range(np.array([60] * 250 + [70] * 1000), DECADES)[6]
    assert (sixties.photos_per_age, sixties.held_out) == (25, 25)
    assert sixties.error_width_years == pytest.approx(1.96)  # 1.96 * 5 / sqrt(25)
    assert per_range(np.array([60] * 4), DECADES)[6].error_width_years == np.inf


def test_each_value_of_each_attribute_is_counted_by_band():
    counted = per_attribute(
        np.array([5, 25, 35, 65]),
        {"sex": np.array(["f", "m", "f", "f"]), "ancestry": np.array(["x", "x", "unknown", "x"])},
    )
    assert counted.to_dict("split")["data"] == [
        ["sex", "f", 3, 35, 1, 0, 1, 0, 1],
        ["sex", "m", 1, 25, 0, 1, 0, 0, 0],
        ["ancestry", "unknown", 1, 35, 0, 0, 1, 0, 0],
        ["ancestry", "x", 3, 25, 1, 1, 0, 0, 1],
    ]


def test_label_noise_is_as_computed_by_hand():
    noise = label_noise(np.array([10, 50, 12, 30, 1, 30, 10, 4]), np.array([5, 2, 5, 1, 0, 1, 0, 0]))
    assert noise.gaps_years.tolist() == [9, 0, 2]  # groups 0, 1 and 5; the photo of group 2 is alone
    # Mean differences: (3 + 6 + 9) / 3, 0 and 2.
    assert noise.error_years.estimate == pytest.approx((6 + 0 + 2) / 3 / np.sqrt(2))
    assert noise.n_conflicts == 2


def test_a_picture_counts_once_whatever_its_number_of_copies():
    ages = np.random.default_rng(0).integers(0, 101, 200)
    pairs = np.mean([abs(int(first) - int(second)) for first, second in combinations(ages, 2)])
    alone = label_noise(ages, np.zeros(200, np.int64))
    assert alone.error_years.estimate == pytest.approx(pairs / np.sqrt(2))
    with_a_pair = label_noise(np.append(ages, [40, 40]), np.append(np.zeros(200, np.int64), [1, 1]))
    assert with_a_pair.error_years.estimate == pytest.approx(pairs / np.sqrt(2) / 2)


def test_label_noise_recovers_the_noise_that_was_added():
    draw = np.random.default_rng(0)
    true = draw.integers(30, 70, 3000)
    labels = np.concatenate([np.round(true + draw.normal(0, 4, 3000)) for _ in range(2)]).astype(np.int64)
    error = label_noise(labels, np.tile(np.arange(3000), 2)).error_years
    assert error.estimate == pytest.approx(4 * np.sqrt(2 / np.pi), rel=0.05)  # the mean absolute error of a normal
    assert error.low < error.estimate < error.high


def test_without_copies_label_noise_is_unknown():
    noise = label_noise(np.array([1, 2, 3]), np.array([0, 1, 2]))
    assert len(noise.gaps_years) == noise.n_conflicts == 0
    assert np.isnan(noise.error_years.estimate)
    assert label_noise(np.zeros(0, np.int64), np.zeros(0, np.int64)).n_conflicts == 0
