import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import checkpoint, release, train
from model.cli import InputError
from model.data import decode_photo, read_labels
from model.network import decode
from model.predict import AgePredictor, score_photos
from model.recipe import Recipe
from model.train import Settings


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """A preset in proportion to twelve photos: three epochs, of which the first is at a smaller size."""
    small = Recipe(image_size=40, small_image_size=32, small_epochs=1, epochs=3, batch_size=4, learning_rate=1e-3)
    monkeypatch.setitem(train.PRESETS, "quick", small)


@pytest.fixture
def settings(tmp_path, labelled_set):
    """Settings of a short training on twelve photos, of which three are held out."""

    def make(*, ages=tuple(range(5, 77, 6)), out="age", **changed):
        folder = tmp_path / "faces"
        data = folder if folder.exists() else labelled_set(ages)
        return Settings(data=data, out=tmp_path / out, **{"pretrained": "none", "held_out_share": 0.3, **changed})

    return make


def weights(folder):
    return {name: value.clone() for name, value in checkpoint.load(folder).state_dict().items()}


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.fixture
def cut_off(monkeypatch):
    """Start a training that is cut off when the given epoch begins."""

    def make(run_settings, at_epoch):
        one_epoch = train.train_one_epoch

        def stop(*arguments, epoch, **others):
            if epoch == at_epoch:
                raise KeyboardInterrupt
            return one_epoch(*arguments, epoch=epoch, **others)

        with monkeypatch.context() as patch:
            patch.setattr(train, "train_one_epoch", stop)
            with pytest.raises(KeyboardInterrupt):
                train.main(run_settings)

    return make


@pytest.mark.parametrize("head", ["distribution", "scalar"])
def test_a_network_can_learn_eight_photos_by_heart(settings, monkeypatch, head):
    monkeypatch.setattr(train, "augment", lambda photos, _: photos)
    ages = [5, 15, 25, 35, 45, 55, 65, 75]
    chosen = settings(ages=ages, head=head, epochs=60, batch_size=8, image_size=64)
    labelled = read_labels(chosen.data)
    network, facts = train.train(chosen, labelled, labelled)
    assert facts["history"][-1]["mae_years"] < 2
    with torch.no_grad():
        found = decode(network.eval()(torch.from_numpy(labelled.pixels(64)))).age_years
    assert np.abs(found.numpy() - ages).max() < 5


@pytest.mark.parametrize("at_epoch", [1, 2])
def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(settings, cut_off, tmp_path, capsys, at_epoch):
    train.main(settings(out="whole"))
    cut_off(settings(), at_epoch=at_epoch)
    assert not (tmp_path / "age").exists()
    capsys.readouterr()
    train.main(settings())
    said = capsys.readouterr()
    assert f"epoch {at_epoch + 1}:" in said.out + said.err
    assert f"epoch {at_epoch}:" not in said.out + said.err
    assert equal(weights(tmp_path / "age"), weights(tmp_path / "whole"))
    facts, whole = (checkpoint.read_card(tmp_path / name) for name in ("age", "whole"))
    assert facts["metrics"] == whole["metrics"]
    assert facts["sha256"] == whole["sha256"]
    assert not (tmp_path / "age.training").exists()


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path, labelled_set):
    """The real program, killed with SIGKILL after its first epoch."""
    data = labelled_set(range(5, 77, 6))
    flags = ["--data", str(data), "--pretrained", "none", "--held-out-share", "0.3"]
    flags += ["--image-size", "32", "--epochs", "2", "--batch-size", "4"]

    def start(out):
        command = [sys.executable, "-m", "model.train", *flags, "--out", str(tmp_path / out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # the same sums in the same order
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    whole, killed = start("whole"), start("age")
    state = tmp_path / "age.training" / "state.pt"
    while not state.exists():
        assert killed.poll() is None, "it ended before its first epoch was kept"
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert not (tmp_path / "age").exists()
    assert start("age").wait() == whole.wait() == 0
    hashes = [checkpoint.read_card(tmp_path / name)["sha256"] for name in ("age", "whole")]
    assert hashes[0] == hashes[1]


def test_a_training_cut_off_before_the_model_folder_was_written_trains_no_more(settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", None)
        with pytest.raises(TypeError):
            train.main(settings())
    monkeypatch.setattr(train, "train_one_epoch", None)
    train.main(settings())
    assert checkpoint.read_card(tmp_path / "age")["metrics"]["n"] == 3


def test_a_training_does_not_go_on_with_other_settings_or_photos(settings, cut_off, tmp_path):
    cut_off(settings(), at_epoch=1)
    with pytest.raises(InputError, match=r"was begun with other learning_rate, seed; go on with the same, or remove"):
        train.main(settings(seed=5, learning_rate=0.5))
    labels = tmp_path / "faces" / "labels.csv"
    labels.write_text(labels.read_text().replace("1\n", "2\n"))
    with pytest.raises(InputError, match="was begun with other training_fingerprint"):
        train.main(settings())


def test_the_seed_decides_the_weights(settings, tmp_path):
    for out, seed in (("one", 1), ("same", 1), ("other", 2)):
        train.main(settings(out=out, seed=seed, epochs=1))
    assert equal(weights(tmp_path / "one"), weights(tmp_path / "same"))
    assert not equal(weights(tmp_path / "one"), weights(tmp_path / "other"))


def test_the_card_says_how_the_model_came_about_and_not_where(settings, tmp_path):
    train.main(settings(epochs=1))
    card = json.loads((tmp_path / "age" / "model.json").read_text())
    assert card["pretrained"] == "none: random weights"
    assert card["data"]["n_training"] + card["data"]["n_held_out"] == 12
    assert card["training"]["held_out_share"] == 0.3
    assert card["training"]["preset"] == "quick"
    assert card["training"]["epochs"] == len(card["history"]) == 1
    assert 0 < card["history"][0]["data_share"] < 1
    assert card["metrics"].keys() >= {"n", "mae_years", "mae_low", "constant_mae_years"}
    assert str(tmp_path) not in json.dumps(card)


def test_a_model_folder_is_complete_and_each_file_is_part_of_its_version(settings, tmp_path):
    train.main(settings())
    folder = tmp_path / "age"
    names = {"weights.safetensors", "calibration.json", "held_out.csv", "MODEL_CARD.md"}
    assert {path.name for path in folder.iterdir()} == names | {"model.json"}
    assert set(checkpoint.read_card(folder)["sha256"]) == names
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        with pytest.raises(InputError, match=name):
            checkpoint.version(folder)
        (folder / name).write_bytes(content)


def test_the_folder_holds_what_its_model_predicts_for_the_held_out_photos(settings, tmp_path):
    chosen = settings(out="scalar", head="scalar")  # no calibration, by others or by all, between the two
    train.main(chosen)
    stored = release.read_held_out(tmp_path / "scalar")
    predictor = AgePredictor(tmp_path / "scalar")
    paths = [chosen.data / "final_files" / name for name in stored["file_name"]]
    scores = score_photos(predictor, [str(path) for path in paths], lambda path: Path(path).read_bytes(), n_threads=1)
    assert stored["age_years"].tolist() == pytest.approx([score.age_years for score in scores], abs=0.1)
    assert checkpoint.read_card(tmp_path / "scalar")["metrics"]["mae_years"] == pytest.approx(
        (stored["age_years"] - stored["real_age"]).abs().mean(), abs=0.001
    )


def test_training_sees_the_pixels_that_scoring_sees(settings, monkeypatch):
    seen = []
    monkeypatch.setattr(train, "augment", lambda photos, _: seen.append(photos.clone()) or photos)
    chosen = settings(epochs=1, batch_size=2)
    labelled = read_labels(chosen.data)
    train.train(chosen, labelled, labelled)
    files = [(chosen.data / "final_files" / name).read_bytes() for name in labelled.file_names]
    assert {photo.numpy().tobytes() for photo in torch.cat(seen)} == {
        decode_photo(content, 40).tobytes() for content in files
    }


def test_the_first_epochs_see_smaller_photos(settings, monkeypatch):
    sizes = []
    monkeypatch.setattr(train, "augment", lambda photos, _: sizes.append(photos.shape[1]) or photos)
    train.main(settings())
    assert sizes == [32] * 2 + [40] * 4


def test_what_is_not_given_is_the_presets(tmp_path):
    chosen = Settings(data=tmp_path, out=tmp_path / "age", preset="original", image_size=64, batch_size=16)
    preset = train.PRESETS["original"]
    assert chosen.recipe == replace(preset, image_size=64, small_image_size=64, batch_size=16)
    assert preset.head == "scalar"
    assert preset.epochs == 10


def test_a_shorter_training_keeps_the_share_of_small_epochs(tmp_path):
    chosen = Settings(data=tmp_path, out=tmp_path / "age", preset="full", epochs=10)
    full = train.PRESETS["full"]
    assert chosen.recipe.small_epochs == full.small_epochs * 10 // full.epochs
    assert 0 < chosen.recipe.small_epochs < 10


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0; it must be between 1 and 1000"),
        ({"batch_size": 1}, "batch_size is 1; it must be between 2 and 4096"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"image_size": 16}, "image_size is 16; it must be between 32 and 512"),
        ({"held_out_share": 0.9}, "held_out_share is 0.9; it must be between 0.01 and 0.5"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(settings, wrong, said):
    with pytest.raises(InputError, match=said):
        train.main(settings(**wrong))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"label_sigma_years": 0.0}, "label_sigma_years is 0.0"),
        ({"small_epochs": 4}, "small_epochs is 4; it must be between 0 and 3"),
        ({"small_image_size": 96}, "small_image_size is 96; it must be between 32 and 40"),
    ],
)
def test_a_wrong_recipe_is_named_with_what_would_be_right(wrong, said):
    with pytest.raises(InputError, match=said):
        replace(train.PRESETS["quick"], **wrong)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("file_name,age\n0.jpg,30\n", r"lacks the column real_age"),
        ("file_name,real_age\n0.jpg,30\ngone.jpg,40\n", r"labels.csv names gone.jpg, which is not in"),
        ("file_name,real_age\n0.jpg,130\n", r"line 2: real_age is '130'; it must be a whole number from 0 to 100"),
    ],
)
def test_a_wrong_label_file_stops_the_training_before_it_begins(settings, tmp_path, labels, said):
    chosen = settings()
    (tmp_path / "faces" / "labels.csv").write_text(labels)
    with pytest.raises(InputError, match=said):
        train.main(chosen)
    assert not (tmp_path / "age.training").exists()


def test_a_batch_larger_than_the_set_is_named(settings):
    with pytest.raises(InputError, match="batch_size is 64; it must not exceed the 9 training photos"):
        train.main(settings(batch_size=64))


def test_a_set_too_small_to_hold_photos_out_is_named(settings):
    with pytest.raises(InputError, match="too few photos to keep 30% apart"):
        train.main(settings(ages=[30]))
