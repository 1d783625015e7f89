import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from model import precision, train
from model.cli import InputError
from model.network import decode
from model.photos.augment import augment
from model.photos.data import read_labels
from model.photos.decoding import decode_photo
from model.predict import score_photos
from model.predictor import AgePredictor
from model.release import checkpoint, contents
from model.training import epoch
from model.training.recipe import Recipe


def weights(folder):
    """Hash of the weights."""
    return checkpoint.read_model_json(folder)["sha256"][checkpoint.WEIGHTS]


# Each in the shortest training that has a margin; the scalar head learns more slowly.
@pytest.mark.parametrize(
    "recipe",
    [
        {"head": "distribution", "image_size": 32, "epochs": 40, "learning_rate": 2e-3},
        {"head": "scalar", "image_size": 64, "epochs": 80, "learning_rate": 1e-3},
    ],
    ids=["distribution", "scalar"],
)
def test_network_can_memorise_eight_photos(settings, monkeypatch, recipe):
    # Mirrored, but not changed otherwise: the age is that of a photo and its mirror image.
    monkeypatch.setattr(epoch, "augment", lambda photos, generator, *_: augment(photos, generator, 0.0, 0.0))
    ages = [5, 15, 25, 35, 45, 55, 65, 75]
    chosen = settings(ages=ages, batch_size=8, **recipe)
    labelled = read_labels(chosen.data)
    network, facts = train.train(chosen, labelled, labelled)
    assert facts["history"][-1]["mae_years"] < 2
    with torch.no_grad():
        estimate = decode(network.eval()(torch.from_numpy(labelled.pixels(recipe["image_size"]))))
    assert np.abs(estimate.age_years.numpy() - ages).max() < 5


@pytest.mark.parametrize("kind", ["labelled set", "store"])
def test_folder_that_is_not_a_model_folder_is_not_replaced(settings, tmp_path, kind):
    chosen = settings()
    there = chosen.data if kind == "labelled set" else tmp_path / "store"
    there.mkdir(exist_ok=True)
    with pytest.raises(InputError, match="which exists and is not a model folder; choose another"):
        train.main(replace(chosen, out=there))
    assert there.is_dir()
    assert not (tmp_path / f"{there.name}.training").exists()
    with pytest.raises(InputError, match="it must be the name of a model folder"):
        train.main(replace(chosen, out=Path()))
    (tmp_path / "current").symlink_to(there)
    with pytest.raises(InputError, match="current, a link; choose a folder"):
        train.main(replace(chosen, out=tmp_path / "current"))


@pytest.mark.usefixtures("on_cpu")
def test_order_of_the_label_file_does_not_matter(settings, tmp_path):
    train.main(settings(out="one", epochs=1))
    labels = tmp_path / "faces" / "labels.csv"
    header, *rows = labels.read_text().splitlines()
    labels.write_text("\n".join([header, *rows[::-1]]) + "\n")
    train.main(settings(out="other", epochs=1))
    hashes = [checkpoint.read_model_json(tmp_path / name)["sha256"] for name in ("one", "other")]
    assert hashes[0] == hashes[1]


@pytest.mark.usefixtures("on_cpu")
def test_seed_decides_the_weights(settings, tmp_path):
    for out, seed in (("one", 1), ("same", 1), ("other", 2)):
        train.main(settings(out=out, seed=seed, epochs=1))
    assert weights(tmp_path / "one") == weights(tmp_path / "same")
    assert weights(tmp_path / "one") != weights(tmp_path / "other")


def test_model_json_states_how_the_model_was_trained_but_no_paths(settings, tmp_path):
    train.main(settings(epochs=1))
    facts = json.loads((tmp_path / "age" / "model.json").read_text())
    assert facts["training"]["pretrained"] == "none: random weights"
    assert facts["data"]["n_training"] + facts["data"]["n_held_out"] == 12
    assert facts["training"]["held_out_share"] == 0.3
    assert facts["training"]["preset"] == "quick"
    assert facts["training"]["epochs"] == len(facts["history"]) == 1
    assert facts["history"][0]["images_per_second"] > 0
    assert facts["metrics"].keys() >= {"n", "mae_years", "mae_low", "constant_mae_years"}
    assert str(tmp_path) not in json.dumps(facts)


def test_model_folder_is_complete_and_its_version_covers_every_file(settings, tmp_path):
    train.main(settings())
    folder = tmp_path / "age"
    names = {"weights.safetensors", "calibration.json", "held_out.csv", "learnt_photos.txt", "MODEL_CARD.md"}
    assert {path.name for path in folder.iterdir()} == names | {"model.json"}
    assert set(checkpoint.read_model_json(folder)["sha256"]) == names
    for name in names:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content + b" ")
        with pytest.raises(InputError, match=name):
            checkpoint.version(folder)
        (folder / name).write_bytes(content)


def test_folder_contains_the_predictions_for_the_held_out_photos(settings, tmp_path):
    chosen = settings(out="scalar", head="scalar")  # which has no calibration: held_out.csv is cross-fitted
    train.main(chosen)
    stored = contents.read_held_out(tmp_path / "scalar")
    predictor = AgePredictor(tmp_path / "scalar")
    paths = [chosen.data / "final_files" / name for name in stored["file_name"]]
    scores = score_photos(predictor, [str(path) for path in paths], lambda path: Path(path).read_bytes(), n_threads=1)
    assert stored["age_years"].tolist() == pytest.approx([score.age_years for score in scores], abs=0.1)
    assert checkpoint.read_model_json(tmp_path / "scalar")["metrics"]["mae_years"] == pytest.approx(
        (stored["age_years"] - stored["real_age"]).abs().mean(), abs=0.001
    )


def test_training_and_scoring_use_the_same_pixels(settings, monkeypatch):
    seen = []
    monkeypatch.setattr(epoch, "augment", lambda photos, *_: seen.append(photos.clone()) or photos)
    chosen = settings(epochs=1, batch_size=2)
    labelled = read_labels(chosen.data)
    train.train(chosen, labelled, labelled)
    files = [(chosen.data / "final_files" / name).read_bytes() for name in labelled.file_names]
    assert {photo.numpy().tobytes() for photo in torch.cat(seen)} == {
        decode_photo(content, 40).tobytes() for content in files
    }


def test_every_value_of_the_recipe_reaches_its_step(settings, monkeypatch):
    recipe = Recipe(
        image_size=32,
        epochs=1,
        batch_size=4,
        learning_rate=1e-3,
        weight_decay=0.25,
        label_sigma_years=3.5,
        variation=0.125,
        erased_share=0.75,
    )
    monkeypatch.setitem(train.PRESETS, "quick", recipe)
    seen = {}
    loss, adam = epoch.loss, torch.optim.AdamW

    def watched_augment(photos, _, variation, erased_share):
        seen["augment"] = (variation, erased_share)
        return photos

    def watched_loss(*arguments, **named):
        seen["loss"] = named
        return loss(*arguments, **named)

    def watched_optimizer(groups, **named):
        seen["decay"] = [(group["weight_decay"], {weight.ndim > 1 for weight in group["params"]}) for group in groups]
        return adam(groups, **named)

    monkeypatch.setattr(epoch, "augment", watched_augment)
    monkeypatch.setattr(epoch, "loss", watched_loss)
    monkeypatch.setattr(torch.optim, "AdamW", watched_optimizer)
    train.main(settings())
    assert seen == {
        "augment": (0.125, 0.75),
        "loss": {"label_sigma_years": 3.5},
        "decay": [(0.25, {True}), (0.0, {False})],
    }


@pytest.mark.parametrize(("dtype", "tolerance_years"), [(torch.float32, 0.001), (torch.bfloat16, 0.2)])
def test_held_out_error_is_that_of_the_held_out_photos_and_changes_no_weights(
    untrained, labelled_set, monkeypatch, dtype, tolerance_years
):
    monkeypatch.setattr(precision, "native_dtype", lambda _: dtype)
    labelled = read_labels(labelled_set(range(5, 77, 6)))
    photos, network = labelled.pixels(32), untrained().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    mae = epoch.held_out_mae(network, photos, torch.from_numpy(labelled.ages), batch_size=5)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    with torch.no_grad():
        estimate = decode(network.eval()(torch.from_numpy(photos)))
    assert mae == pytest.approx(np.abs(estimate.age_years.numpy() - labelled.ages).mean(), abs=tolerance_years)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_training_computes_in_the_native_precision(settings, monkeypatch, tmp_path, dtype):
    monkeypatch.setattr(precision, "native_dtype", lambda _: dtype)
    seen = set()
    conv2d = torch.nn.functional.conv2d

    def watched_conv2d(*arguments):
        output = conv2d(*arguments)
        if len(output) > 2:  # a loaded model is tried on a picture and its mirror image, in float32
            seen.add(output.dtype)
        return output

    monkeypatch.setattr(torch.nn.functional, "conv2d", watched_conv2d)
    train.main(settings(epochs=1))
    assert seen == {dtype}
    assert checkpoint.read_model_json(tmp_path / "age")["training"]["precision"] == precision.name(dtype)
    (loss,) = (row["loss"] for row in checkpoint.read_model_json(tmp_path / "age")["history"])
    assert 0 < loss < 10


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"held_out_share": 0.9}, "held_out_share is 0.9; it must be between 0.01 and 0.5"),
        ({"seed": 2**64}, f"seed is {2**64}; it must be between 0 and {2**32 - 1}"),
    ],
)
def test_wrong_setting_is_reported_with_its_range(settings, wrong, message):
    with pytest.raises(InputError, match=message):
        train.main(settings(**wrong))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("file_name,age\n0.jpg,30\n", r"lacks the column real_age"),
        ("file_name,real_age\n0.jpg,30\ngone.jpg,40\n", r"labels.csv lists gone.jpg, which is not in"),
        ("file_name,real_age\n0.jpg,130\n", r"line 2: real_age is '130'; it must be a whole number from 0 to 100"),
    ],
)
def test_wrong_label_file_is_reported_before_training(settings, tmp_path, labels, message):
    chosen = settings()
    (tmp_path / "faces" / "labels.csv").write_text(labels)
    with pytest.raises(InputError, match=message):
        train.main(chosen)
    assert not (tmp_path / "age.training").exists()


def test_batch_larger_than_the_set_is_reported(settings):
    with pytest.raises(InputError, match="batch_size is 64; it must not exceed the 9 training photos"):
        train.main(settings(batch_size=64))


def test_set_too_small_to_hold_out_photos_is_reported(settings):
    with pytest.raises(InputError, match="too few photos to hold out 30% of them"):
        train.main(settings(ages=[30]))
