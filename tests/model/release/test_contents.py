import pandas as pd

from model.release.contents import weaknesses


def test_the_card_names_ages_and_groups_with_larger_errors():
    few = {"n": 29, "mae_years": 20.0, "mae_low": 18.0}
    row = {"n": 100, "mae_years": 6.0, "mae_low": 5.5}
    bad = {"n": 100, "mae_years": 12.0, "mae_low": 10.0}
    tables = {"error_by_decade": pd.DataFrame([{"group": "20-29", **row}, {"group": "60-69", **bad}])}
    text = weaknesses(tables)
    assert "Error above that of all photos: 60-69 (12.0 years)." in text
    assert "Sex, ancestry and similar groups were not tested" in text
    even = {"error_by_decade": pd.DataFrame([{"group": "20-29", **row}, {"group": "60-69", **few}])}
    assert "Error above that of all photos: none." in weaknesses(even)
    names = ["attribute", "group", "n", "mae_beyond", "mae_beyond_low", "mae_beyond_high"]
    names += ["bias_beyond", "bias_beyond_low", "bias_beyond_high"]
    groups = [
        ("sex", "female", 100, 0.5, 0.1, 0.9, -0.2, -0.6, 0.2),
        ("sex", "male", 100, -0.5, -0.9, -0.1, 0.8, 0.4, 1.2),
        ("ancestry", "black", 100, 0.2, -0.2, 0.6, -1.2, -1.9, -0.5),
        ("ancestry", "other", 29, 3.0, 2.0, 4.0, 3.0, 2.0, 4.0),
    ]
    text = weaknesses({**tables, "at_equal_age": pd.DataFrame(groups, columns=names)})
    assert "the model has larger errors for: sex female (+0.5 years)." in text
    assert "the model predicts too young: ancestry black (-1.2 years)." in text
    assert "the model predicts too old: sex male (+0.8 years)." in text
    assert "groups of 30 photos or more were tested;" in text
    assert "not tested" not in text
