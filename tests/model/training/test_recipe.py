from dataclasses import replace

import pytest

from model.cli import InputError
from model.train import Settings
from model.training.recipe import PRESETS, Recipe

RECIPE = Recipe(image_size=40, epochs=3, batch_size=4, learning_rate=1e-3)


def test_what_is_not_given_is_the_presets(tmp_path):
    chosen = Settings(data=tmp_path, out=tmp_path / "age", preset="original", image_size=64, batch_size=16)
    preset = PRESETS["original"]
    assert chosen.recipe == replace(preset, image_size=64, batch_size=16)
    assert preset.head == "scalar"
    assert preset.epochs == 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"label_sigma_years": 0.0}, "label_sigma_years is 0.0"),
        ({"variation": 2.1}, "variation is 2.1; it must be between 0.0 and 2.0"),
        ({"erased_share": 50}, "erased_share is 50; it must be between 0.0 and 1.0"),
        ({"image_size": 31}, "image_size is 31; it must be between 32 and 512"),
    ],
)
def test_a_wrong_recipe_is_named_with_what_would_be_right(wrong, said):
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **wrong)
