import numpy as np
import pandas as pd
import pytest

from model.study.age_study import LabelNoise, label_noise, per_attribute
from model.study.verdict import spans, verdict

EVEN = np.repeat(np.arange(101), 120)
YOUNG = np.repeat(np.arange(101), [300] * 60 + [20] * 41)
OLD = np.repeat(np.arange(101), [20] * 18 + [300] * 83)


def noise(*pairs):
    return label_noise(np.array(pairs, np.int64).ravel(), np.repeat(np.arange(len(pairs)), 2))


def test_a_large_even_set_has_no_weak_bands():
    assert verdict(EVEN) == [
        "No band is thin: the smallest, 18-29, has 1,440 photos.",
        (
            "10% held-out photos are enough for every decade: the widest interval of a mean error is ±0.9 years, "
            "at 00-09."
        ),
    ]


def test_a_young_set_is_weak_for_old_people_and_an_old_set_for_young_ones():
    assert verdict(YOUNG) == [
        (
            "60_plus is thin and sparse: 820 photos, 20 per age against 300 in under_18. Expect these ages to be "
            "guessed too young, towards the median of 31."
        ),
        (
            "10% held-out photos are too few to measure a mean error at 60-69 (20 photos, ±2.2 years), 70-79 (20 "
            "photos, ±2.2 years), 80-89 (20 photos, ±2.2 years), 90-100 (22 photos, ±2.1 years)."
        ),
    ]
    assert verdict(OLD) == [
        (
            "under_18 is thin and sparse: 360 photos, 20 per age against 300 in 18-29. Expect these ages to be guessed "
            "too old, towards the median of 58."
        ),
        (
            "10% held-out photos are too few to measure a mean error at 00-09 (20 photos, ±2.2 years), 10-19 (76 "
            "photos, ±1.1 years)."
        ),
    ]


def test_thin_and_sparse_are_different_findings():
    sparse = np.repeat(np.arange(101), [1000] * 60 + [100] * 41)
    assert verdict(sparse)[0].startswith("60_plus is sparse: 4,100 photos, 100 per age against 1000")
    thin = np.repeat(np.arange(101), [60] * 60 + [150] * 41)
    assert verdict(thin)[0].startswith("18-29 is thin: 720 photos. Expect these ages to be guessed too old")


def test_the_band_of_the_median_is_guessed_with_errors_both_ways():
    assert "18-29 is thin: 500 photos. Expect these ages to be guessed with larger errors, either way." in verdict(
        np.full(500, 25)
    )


def test_a_band_without_a_photo_has_an_unknown_error():
    findings = verdict(np.repeat(np.arange(18, 101), 200))
    assert findings[0] == "under_18: no photo. A model can't learn these ages, and its error there stays unknown."
    assert "00-09 (none)" in " ".join(findings)


def test_missing_ages_are_listed():
    findings = verdict(EVEN[~np.isin(EVEN, [33, 90, 91, 92])])
    assert "No photo of age 33, 90-92: a model can only interpolate there." in findings
    assert not any("No photo of age" in finding for finding in verdict(EVEN))


def test_rounded_labels_are_detected():
    rounded = np.where(np.arange(len(EVEN)) % 4 == 0, EVEN // 5 * 5, EVEN)
    findings = [finding for finding in verdict(rounded) if finding.startswith("Labels are rounded")]
    assert len(findings) == 1
    assert "2.0 times as often" in findings[0]  # a fifth, and a quarter of the other four fifths
    assert not any("rounded" in finding for finding in verdict(EVEN))


def test_label_noise_limits_the_error_of_every_model():
    findings = verdict(EVEN, noise=noise(*[(30, 30)] * 5, *[(30, 34)] * 15, (20, 41)))
    estimate = (15 * 4 + 21) / 21 / np.sqrt(2)
    assert any(
        f"of 21 pictures that occur more than once, 16 have different ages, up to 21 years apart. A label is off by "
        f"about {estimate:.1f} years" in finding
        for finding in findings
    )


@pytest.mark.parametrize(
    ("unusable", "reason"),
    [
        (noise(), "0 pictures occur more than once"),
        (noise(*[(20, 60)] * 9), "9 pictures occur more than once, too few"),
        (noise(*[(20, 20)] * 50), "the copies of all 50 repeated pictures have one age, perhaps copied"),
    ],
)
def test_label_noise_is_unknown_without_independent_labels(unusable: LabelNoise, reason):
    assert verdict(EVEN, noise=unusable)[-1].startswith(f"Label noise is unknown: {reason}")


def test_ten_pictures_are_enough_to_estimate_label_noise():
    assert (
        "of 10 pictures that occur more than once, 10 have different ages"
        in verdict(EVEN, noise=noise(*[(20, 24)] * 10))[-1]
    )


def test_small_groups_are_listed_with_the_smallest_first():
    sex = np.where(np.arange(len(EVEN)) % 120 < 3, "female", "male")
    findings = verdict(EVEN, by_attribute=per_attribute(EVEN, {"sex": sex}))
    assert findings[-1] == (
        "Fewer than 100 photos, so larger errors would be missed: sex female, 18-29 (36); sex female, 30-44 (45); "
        "sex female, 45-59 (45); sex female, under_18 (54)."
    )
    even = verdict(EVEN, by_attribute=per_attribute(EVEN, {"sex": np.where(np.arange(len(EVEN)) % 2, "f", "m")}))
    assert even == verdict(EVEN)


def test_a_long_list_of_small_groups_is_cut():
    tiny = pd.concat([per_attribute(np.array([30]), {"ancestry": np.array([name])}) for name in "abc"])
    assert verdict(EVEN, by_attribute=tiny)[-1].endswith("; and 9 more.")


def test_a_single_photo_has_a_verdict():
    assert "under_18: no photo" in " ".join(verdict(np.array([25])))


@pytest.mark.parametrize(
    ("ages", "text"),
    [([], ""), ([3], "3"), ([3, 4], "3-4"), ([1, 3, 4, 5, 9], "1, 3-5, 9"), ([1, 2, 8, 9], "1-2, 8-9")],
)
def test_runs_of_ages_are_joined(ages, text):
    assert spans(ages) == text
