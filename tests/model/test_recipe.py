from dataclasses import replace

import pytest

from model.cli import InputError
from model.recipe import PRESETS, Recipe
from model.train import Settings

RECIPE = Recipe(image_size=40, small_image_size=32, small_epochs=1, epochs=3, batch_size=4, learning_rate=1e-3)


def test_what_is_not_given_is_the_presets(tmp_path):
    chosen = Settings(data=tmp_path, out=tmp_path / "age", preset="original", image_size=64, batch_size=16)
    preset = PRESETS["original"]
    assert chosen.recipe == replace(preset, image_size=64, small_image_size=64, batch_size=16)
    assert preset.head == "scalar"
    assert preset.epochs == 10


def test_a_shorter_training_keeps_the_share_of_small_epochs(tmp_path):
    chosen = Settings(data=tmp_path, out=tmp_path / "age", preset="full", epochs=10)
    full = PRESETS["full"]
    assert (full.small_epochs, full.epochs) == (60, 100)
    assert chosen.recipe.small_epochs == 6


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"label_sigma_years": 0.0}, "label_sigma_years is 0.0"),
        ({"variation": 2.1}, "variation is 2.1; it must be between 0.0 and 2.0"),
        ({"erased_share": 50}, "erased_share is 50; it must be between 0.0 and 1.0"),
        ({"small_epochs": 4}, "small_epochs is 4; it must be between 0 and 3"),
        ({"small_image_size": 96}, "small_image_size is 96; it must be between 32 and 40"),
    ],
)
def test_a_wrong_recipe_is_named_with_what_would_be_right(wrong, said):
    with pytest.raises(InputError, match=said):
        replace(RECIPE, **wrong)
