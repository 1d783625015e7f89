import numpy as np
import pytest
import torch
from scipy import stats

from model.evaluation import tables as judgement
from model.evaluation.calibration import fit
from model.evaluation.metrics import mean_interval, measure, share_interval
from model.evaluation.tables import (
    at_equal_age,
    compare,
    coverage,
    decades,
    decisions,
    error_by,
    predictions,
    reliability,
)
from model.network import N_AGES


def each_other(output, ages):
    """Predictions of photos that are all calibrated by each other."""
    return predictions(output, ages, np.full(len(ages), fill_value=True), None)


def certain(ages):
    """Logits (N, 101) of a network that is sure of `ages`."""
    output = torch.full((len(ages), N_AGES), -50.0)
    output[torch.arange(len(ages)), torch.as_tensor(ages)] = 50.0
    return output


def test_errors_are_those_by_hand():
    metrics = measure(np.array([20.0, 33.0, 40.0, 75.0]), np.array([20, 30, 45, 69]), constant=36.0)
    assert metrics.n == 4
    assert metrics.mae_years == 3.5  # (0 + 3 + 5 + 6) / 4
    assert metrics.median_error_years == 4.0
    assert metrics.bias_years == 1.0  # (0 + 3 - 5 + 6) / 4
    assert metrics.within_5_years == 0.75
    assert metrics.constant_mae_years == 16.0  # (16 + 6 + 9 + 33) / 4
    assert 0 <= metrics.mae_low <= 3.5 <= metrics.mae_high <= 6


def test_a_bootstrap_interval_is_as_wide_as_theory_says():
    values = np.random.default_rng(0).exponential(6, 1600)
    interval = mean_interval(values)
    half = 1.96 * values.std(ddof=1) / 40
    assert interval.estimate == values.mean()
    assert interval.low == pytest.approx(values.mean() - half, abs=0.03)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.03)


def test_of_one_value_or_none_no_interval_is_made_up():
    assert mean_interval(np.array([3.0]))[0] == 3
    assert np.isnan(mean_interval(np.array([3.0]))[1:]).all()
    assert np.isnan(mean_interval(np.array([]))).all()
    assert np.isnan(share_interval(np.array([], bool))).all()


def test_the_interval_of_a_share_is_wilsons():
    interval = share_interval(np.array([True] * 3 + [False] * 17))
    z, n, p = stats.norm.ppf(0.975), 20, 0.15
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert interval == pytest.approx((p, middle - half, middle + half))


def test_a_decade_is_ten_years_and_the_last_one_eleven():
    assert decades(np.array([0, 9, 10, 59, 89, 90, 100])).tolist() == [
        "00-09", "00-09", "10-19", "50-59", "80-89", "90-100", "90-100",
    ]  # fmt: skip
    assert decades(np.array([9.4, 9.6, 29.7, 99.9])).tolist() == ["00-09", "10-19", "30-39", "90-100"]


def test_each_group_is_measured_by_its_own_photos():
    groups = np.array(["a", "b", "a"])
    table = error_by(groups, np.array([20.0, 30.0, 44.0]), np.array([20, 33, 40]), constant=30.0)
    assert table.set_index("group")["mae_years"].to_dict() == {"a": 2.0, "b": 3.0}
    assert table["n"].tolist() == [2, 1]


def test_a_group_is_not_blamed_for_its_age_but_for_how_it_is_judged_at_that_age():
    rng = np.random.default_rng(1)  # with 0 an interval misses; of 150 draws of 800, 92 to 95 % of them hold 0
    ages = np.concatenate([rng.choice([25, 65], 4000, p=[0.9, 0.1]), rng.choice([25, 65], 4000, p=[0.1, 0.9])])
    error = rng.normal(0, np.where(ages == 65, 10, 3))
    young, side = np.repeat(["young", "old"], 4000), np.tile(["left", "right"], 4000)
    predicted = ages + error - 4 * (side == "left") * (ages == 25)
    plain = error_by(young, predicted, ages, constant=30.0).set_index("group")["mae_years"]
    assert plain["old"] > plain["young"] + 2
    table = at_equal_age({"crowd": young, "side": side}, predicted, ages).set_index("group")
    for name in ("young", "old"):
        assert table.loc[name, "mae_beyond_low"] < 0 < table.loc[name, "mae_beyond_high"]
        assert table.loc[name, "bias_beyond_low"] < 0 < table.loc[name, "bias_beyond_high"]
    # Half of each side are 25, and those on the left are made 4 years younger than those on the right.
    assert table.loc["left", "bias_beyond"] == pytest.approx(-2, abs=0.3)
    assert table.loc["right", "bias_beyond"] == pytest.approx(2, abs=0.3)
    # The interval by theory: in each stratum the variance of a difference of two means.
    error, left = predicted - ages, side == "left"
    variance = sum(
        (np.mean(ages[left] == age) ** 2) * sum(error[(ages == age) & here].var() / (here & (ages == age)).sum()
        for here in (left, ~left)) for age in (25, 65)
    )  # fmt: skip
    width = table.loc["left", "bias_beyond_high"] - table.loc["left", "bias_beyond_low"]
    assert width == pytest.approx(2 * 1.96 * np.sqrt(variance), rel=0.1)
    assert table.loc["left", "mae_beyond_low"] > 0 > table.loc["right", "mae_beyond_high"]
    assert table["of"].tolist() == ["crowd", "crowd", "side", "side"]


def test_a_group_that_is_alone_at_its_age_is_compared_with_nobody():
    ages, side = np.array([5, 6, 25, 26, 27, 28]), np.array(["left", "left", "left", "left", "right", "right"])
    predicted = ages + np.array([9, 9, 3, 3, 1, 1.0])
    table = at_equal_age({"side": side, "all": np.full(6, "one")}, predicted, ages).set_index("group")
    assert table["bias_beyond"].drop("one").to_dict() == {"left": 2, "right": -2}
    assert np.isnan(table.loc["one", ["bias_beyond", "bias_beyond_low", "mae_beyond_high"]].astype(float)).all()


@pytest.mark.parametrize("age", [0, 40, 100])
def test_a_network_that_is_sure_and_right_is_covered_at_every_age(age):
    inside = coverage(torch.softmax(certain([age]), dim=1), np.array([age]))
    assert {level: share[0] for level, share in inside.items()} == pytest.approx({one: one for one in inside})


def test_a_year_counts_as_far_as_the_interval_holds_it():
    even = torch.zeros(1, N_AGES)
    even[0, 10:20] = 0.1  # from 9.5 to 19.5, so the middle half is 12.0 to 17.0
    mass = even.repeat(4, 1)
    assert coverage(mass, np.array([11, 12, 15, 17]))[0.5] == pytest.approx([0, 0.5, 1, 0.5], abs=1e-5)


def test_the_coverage_of_labels_drawn_from_the_distribution_is_the_level():
    rng = np.random.default_rng(0)
    mass = torch.softmax(torch.tensor(rng.normal(0, 2, (4000, N_AGES)), dtype=torch.float32), dim=1)
    ages = torch.multinomial(mass, 1, generator=torch.Generator().manual_seed(0))[:, 0].numpy()
    for level, inside in coverage(mass, ages).items():
        assert inside.mean() == pytest.approx(level, abs=0.02)


def test_a_minor_taken_for_25_and_an_adult_taken_for_less_are_counted_apart():
    ages = np.array([13, 14, 17, 17, 18, 25, 40, 40])
    predicted = np.array([40.0, 24.6, 24.4, 30.0, 40.0, 24.6, 24.4, 40.0])  # 24.6 is nearest to 25, and so banded
    table = decisions(predicted, ages)
    assert table["n"].tolist() == [3, 3]
    assert table["share"].tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(("limit", "name"), [(18, "under 18"), (25, "under 25")])
def test_probabilities_that_were_wrong_are_right_after_calibration(limit, name):
    """Each photo says how sure it is that its age is under the limit, and says it too weakly."""
    rng = np.random.default_rng(limit)
    centres = rng.uniform(limit - 12, limit + 12, 6000)
    ages = np.clip(np.round(centres + rng.normal(0, 3, 6000)), 0, 100).astype(int)
    output = -((torch.arange(N_AGES) - torch.tensor(centres[:, None])) ** 2) / (2 * 9**2)
    table = reliability(each_other(output.float(), ages)).query(f"of == '{name}' and n > 100")
    off = (table["stated"] - table["share"]).abs().groupby(table["calibration"]).max()
    assert off["before"] > 0.15
    assert off["after"] < 0.07


def test_stated_probabilities_are_set_against_what_was_so():
    rng = np.random.default_rng(0)
    young = rng.random(3000) < 0.7
    output = torch.full((3000, N_AGES), -50.0)
    output[:, 10], output[:, 40] = np.log(0.4), np.log(0.6)  # says 40 % under 18; 70 % are
    table = reliability(each_other(output, np.where(young, 10, 40))).query("of == 'under 18'")
    before, after = (table[table["calibration"] == name].iloc[0] for name in ("before", "after"))
    assert before["stated"] == pytest.approx(0.4, abs=0.01)
    assert before["share"] == pytest.approx(0.7, abs=0.03)
    assert after["stated"] == pytest.approx(0.7, abs=0.05)


def test_two_models_are_compared_photo_by_photo():
    rng = np.random.default_rng(0)
    ages = rng.integers(1, 90, 500)
    one = ages + rng.normal(0, 8, 500)
    closer = ages + (one - ages) * 0.97  # far less than chance would show between different photos
    gain, said = compare(closer, one, ages)
    assert gain.low > 0
    assert said.startswith("better than the other: MAE differs by -0.")
    assert compare(one, closer, ages)[1].startswith("worse than the other: MAE differs by +0.")
    assert compare(one, one + rng.normal(0, 0.1, 500), ages)[1].startswith("not shown to differ")


def test_held_out_photos_are_calibrated_by_each_other_and_others_as_stored():
    ages = np.tile(np.arange(20, 70), 20)
    labels = ages + np.random.default_rng(0).integers(-4, 5, len(ages))
    off_by_five = -((torch.arange(N_AGES) - torch.tensor(ages[:, None]) - 5) ** 2) / 18
    right = -((torch.arange(N_AGES) - torch.tensor(ages[:, None])) ** 2) / 18
    stored = fit(torch.softmax(right, dim=1), labels)
    held_out = np.arange(len(ages)) % 2 == 0
    error = predictions(off_by_five, labels, held_out, stored).age_years - ages
    assert [error[held_out].mean(), error[~held_out].mean()] == pytest.approx([0, 5], abs=0.5)


def test_a_scalar_head_is_judged_without_a_distribution():
    found = each_other(torch.tensor([[30.0], [50.0]]), np.array([20, 50]))
    assert found.age_years.tolist() == [30, 50]
    tables = judgement.tables(found, {"sex": np.array(["male", "female"])}, constant=30)
    assert tables["coverage"].empty
    assert tables["reliability"].empty
    assert tables["error_by_sex"]["mae_years"].tolist() == [0, 10]


def test_coverage_is_told_for_all_and_for_each_decade():
    ages = np.tile([25, 35], 50)
    table = judgement.coverage_table(each_other(certain(ages), ages))
    assert set(table["of"]) == {"all", "predicted decade", "labelled decade"}
    assert set(table["level"]) == set(judgement.LEVELS)
    assert table.query("of == 'labelled decade'")["n"].tolist() == [50] * 6
