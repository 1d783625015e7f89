import re
import sys
from dataclasses import fields, replace

import pytest
import tyro

from model import train
from model.cli import InputError
from model.training.recipe import PRESETS, Recipe

RECIPE = Recipe(image_size=40, epochs=3, batch_size=4, learning_rate=1e-3)


@pytest.fixture
def run_train(monkeypatch, capsys):
    """Run `model.train` with a command line; returns exit code, the settings of the training, and the output."""

    def call(*flags):
        monkeypatch.setattr(sys, "argv", ["train", "--data", "faces", "--out", "age", *flags])
        parsed = []

        def keep(settings: train.Settings) -> None:
            parsed.append(settings)

        with pytest.raises(SystemExit) as stop:
            train.run(keep, train.Settings, default=train.preset_settings(sys.argv[1:]))
        printed = capsys.readouterr()
        return stop.value.code, *parsed, re.sub(r"[\s│]+", " ", printed.out + printed.err)

    return call


@pytest.mark.parametrize("preset", PRESETS)
def test_preset_sets_every_value_that_is_not_given(run_train, preset):
    _, settings, _ = run_train("--image-size", "48", "--epochs", "6", f"--preset={preset}", "--batch-size", "32")
    assert settings.recipe == replace(PRESETS[preset], image_size=48, epochs=6, batch_size=32)
    assert settings.recipe.preset == preset


def test_default_preset_is_quick(run_train):
    assert run_train()[1].recipe == PRESETS["quick"]


def test_help_shows_every_value_of_the_preset(run_train):
    code, text = run_train("--preset", "original", "--help")
    assert code == 0
    for field in fields(Recipe):
        flag = "--" + field.name.replace("_", "-")
        value = getattr(PRESETS["original"], field.name)
        assert re.search(rf"{flag} [^()]*(\([^()]*\)[^()]*)*\(default: {re.escape(str(value))}\)", text), flag


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--epochs", "0"], "error: epochs is 0; it must be between 1 and 1000"),
        (["--preset", "fast"], "invalid choice 'fast' for argument '--preset'"),
        (["--held-out-share", "0.9"], "error: held_out_share is 0.9; it must be between 0.01 and 0.5"),
    ],
)
def test_wrong_flag_is_reported_with_the_allowed_values(run_train, flags, message):
    code, text = run_train(*flags)
    assert code == 2
    assert message in text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"epochs": 0}, "epochs is 0; it must be between 1 and 1000"),
        ({"batch_size": 1}, "batch_size is 1; it must be between 2 and 4096"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"label_sigma_years": 0.0}, "label_sigma_years is 0.0"),
        ({"variation": 2.1}, "variation is 2.1; it must be between 0.0 and 2.0"),
        ({"erased_share": 50}, "erased_share is 50; it must be between 0.0 and 1.0"),
        ({"image_size": 31}, "image_size is 31; it must be between 32 and 512"),
    ],
)
def test_wrong_recipe_is_reported_with_the_allowed_range(wrong, message):
    with pytest.raises(InputError, match=message):
        replace(RECIPE, **wrong)


def test_settings_are_not_complete_without_data_and_out():
    with pytest.raises(SystemExit):
        tyro.cli(train.Settings, args=[], default=train.preset_settings([]), console_outputs=False)
