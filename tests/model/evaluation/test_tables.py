import numpy as np
import pytest
import torch

from model.evaluation.predictions import predictions
from model.evaluation.tables import (
    LEVELS,
    all_tables,
    at_equal_age,
    coverage,
    coverage_table,
    decisions,
    error_by,
    reliability,
)
from model.network import N_AGES


def cross_calibrated(output, ages):
    """Predictions for photos that are all calibrated by each other."""
    return predictions(output, ages, np.full(len(ages), fill_value=True), None)


def certain(ages):
    """Logits (N, 101) of a network that is certain of `ages`."""
    output = torch.full((len(ages), N_AGES), -50.0)
    output[torch.arange(len(ages)), torch.as_tensor(ages)] = 50.0
    return output


def test_groups_are_compared_at_equal_age():
    rng = np.random.default_rng(
        1
    )  # with seed 0 an interval misses 0; of 150 draws of 800, 92 to 95 % of the intervals hold it
    ages = np.concatenate([rng.choice([25, 65], 4000, p=[0.9, 0.1]), rng.choice([25, 65], 4000, p=[0.1, 0.9])])
    error = rng.normal(0, np.where(ages == 65, 10, 3))
    young, side = np.repeat(["young", "old"], 4000), np.tile(["left", "right"], 4000)
    predicted = ages + error - 4 * (side == "left") * (ages == 25)
    by_crowd = error_by(young, predicted, ages, constant=30.0).set_index("group")["mae_years"]
    assert by_crowd["old"] > by_crowd["young"] + 2
    table = at_equal_age({"crowd": young, "side": side}, predicted, ages).set_index("group")
    for name in ("young", "old"):
        assert table.loc[name, "mae_beyond_low"] < 0 < table.loc[name, "mae_beyond_high"]
        assert table.loc[name, "bias_beyond_low"] < 0 < table.loc[name, "bias_beyond_high"]
    # Half of each side are 25, and those on the left are predicted 4 years younger than those on the right.
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
    assert table["attribute"].tolist() == ["crowd", "crowd", "side", "side"]


def test_a_group_without_others_of_its_age_is_not_compared():
    ages, side = np.array([5, 6, 25, 26, 27, 28]), np.array(["left", "left", "left", "left", "right", "right"])
    predicted = ages + np.array([9, 9, 3, 3, 1, 1.0])
    table = at_equal_age({"side": side, "all": np.full(6, "only")}, predicted, ages).set_index("group")
    assert table["bias_beyond"].drop("only").to_dict() == {"left": 2, "right": -2}
    assert np.isnan(table.loc["only", ["bias_beyond", "bias_beyond_low", "mae_beyond_high"]].astype(float)).all()


@pytest.mark.parametrize("age", [0, 40, 100])
def test_a_certain_and_right_prediction_is_covered_at_every_age(age):
    inside = coverage(torch.softmax(certain([age]), dim=1), np.array([age]))
    assert {level: share[0] for level, share in inside.items()} == pytest.approx({level: level for level in inside})


def test_a_year_counts_by_the_part_inside_the_interval():
    even = torch.zeros(1, N_AGES)
    even[0, 10:20] = 0.1  # from 9.5 to 19.5, so the middle half is 12.0 to 17.0
    mass = even.repeat(4, 1)
    assert coverage(mass, np.array([11, 12, 15, 17]))[0.5] == pytest.approx([0, 0.5, 1, 0.5], abs=1e-5)


def test_labels_drawn_from_the_distribution_are_covered_at_each_level():
    rng = np.random.default_rng(0)
    mass = torch.softmax(torch.tensor(rng.normal(0, 2, (4000, N_AGES)), dtype=torch.float32), dim=1)
    ages = torch.multinomial(mass, 1, generator=torch.Generator().manual_seed(0))[:, 0].numpy()
    for level, inside in coverage(mass, ages).items():
        assert inside.mean() == pytest.approx(level, abs=0.02)


def test_minors_predicted_25_and_adults_predicted_younger_are_counted_apart():
    ages = np.array([13, 14, 17, 17, 18, 25, 40, 40])
    predicted = np.array([40.0, 24.6, 24.4, 30.0, 40.0, 24.6, 24.4, 40.0])  # 24.6 is nearest to 25, and so banded
    table = decisions(predicted, ages)
    assert table["n"].tolist() == [3, 3]
    assert table["share"].tolist() == pytest.approx([2 / 3, 1 / 3])


@pytest.mark.parametrize(("limit", "name"), [(18, "under 18"), (25, "under 25")])
def test_calibration_corrects_wrong_probabilities(limit, name):
    """The network's distributions are three times too wide."""
    rng = np.random.default_rng(limit)
    centres = rng.uniform(limit - 12, limit + 12, 6000)
    ages = np.clip(np.round(centres + rng.normal(0, 3, 6000)), 0, 100).astype(int)
    output = -((torch.arange(N_AGES) - torch.tensor(centres[:, None])) ** 2) / (2 * 9**2)
    table = reliability(cross_calibrated(output.float(), ages)).query(f"event == '{name}' and n > 100")
    off = (table["predicted"] - table["share"]).abs().groupby(table["calibration"]).max()
    assert off["before"] > 0.15
    assert off["after"] < 0.07


def test_predicted_probabilities_are_compared_with_observed_shares():
    rng = np.random.default_rng(0)
    young = rng.random(3000) < 0.7
    output = torch.full((3000, N_AGES), -50.0)
    output[:, 10], output[:, 40] = np.log(0.4), np.log(0.6)  # predicts 40 % under 18; 70 % are
    table = reliability(cross_calibrated(output, np.where(young, 10, 40))).query("event == 'under 18'")
    before, after = (table[table["calibration"] == name].iloc[0] for name in ("before", "after"))
    assert before["predicted"] == pytest.approx(0.4, abs=0.01)
    assert before["share"] == pytest.approx(0.7, abs=0.03)
    assert after["predicted"] == pytest.approx(0.7, abs=0.05)


def test_a_scalar_head_has_errors_but_no_coverage():
    predicted = cross_calibrated(torch.tensor([[30.0], [50.0]]), np.array([20, 50]))
    assert predicted.age_years.tolist() == [30, 50]
    tables = all_tables(predicted, {"sex": np.array(["male", "female"])}, constant=30)
    assert tables["coverage"].empty
    assert tables["reliability"].empty
    assert tables["error_by_sex"]["mae_years"].tolist() == [0, 10]


def test_coverage_is_reported_for_all_photos_and_for_each_decade():
    ages = np.tile([25, 35], 50)
    table = coverage_table(cross_calibrated(certain(ages), ages))
    assert set(table["grouping"]) == {"all", "predicted decade", "labelled decade"}
    assert set(table["level"]) == set(LEVELS)
    assert table.query("grouping == 'labelled decade'")["n"].tolist() == [50] * 6
