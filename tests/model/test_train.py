import json

import numpy as np
import pytest
import torch

from model import checkpoint, train
from model.cli import InputError
from model.data import decode_photo, read_labels
from model.network import decode
from model.train import Settings, augment, pretrained_backbone


@pytest.fixture
def settings(tmp_path, labelled_set):
    """Settings of a short training on twelve photos, of which three are held out."""

    def make(*, ages=tuple(range(5, 77, 6)), out="age", **changed):
        folder = tmp_path / "faces"
        defaults = {"pretrained": "none", "image_size": 32, "epochs": 3, "batch_size": 4, "held_out_share": 0.3}
        return Settings(
            data=folder if folder.exists() else labelled_set(ages), out=tmp_path / out, **{**defaults, **changed}
        )

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
    chosen = settings(ages=ages, head=head, epochs=40, batch_size=8, image_size=64)
    labelled = read_labels(chosen.data)
    network, facts = train.train(chosen, labelled, labelled)
    assert facts["metrics"]["mae_years"] < 2 < facts["metrics"]["constant_mae_years"]
    with torch.no_grad():
        found = decode(network(torch.from_numpy(labelled.pixels(64)))).age_years
    assert np.abs(found.numpy() - ages).max() < 5


def test_a_training_that_was_cut_off_goes_on_to_the_same_weights(settings, cut_off, tmp_path, capsys):
    train.main(settings(out="whole"))
    cut_off(settings(), at_epoch=2)
    assert not (tmp_path / "age").exists()
    capsys.readouterr()
    train.main(settings())
    said = capsys.readouterr().out
    assert "epoch 3:" in said
    assert "epoch 2:" not in said
    assert equal(weights(tmp_path / "age"), weights(tmp_path / "whole"))
    facts, whole = (checkpoint.read_card(tmp_path / name) for name in ("age", "whole"))
    assert facts["metrics"] == whole["metrics"]
    assert not (tmp_path / "age.training").exists()


def test_a_training_cut_off_before_the_model_folder_was_written_trains_no_more(settings, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save", None)
        with pytest.raises(TypeError):
            train.main(settings(epochs=2))
    monkeypatch.setattr(train, "train_one_epoch", None)
    train.main(settings(epochs=2))
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
    assert card["metrics"].keys() >= {"n", "mae_years", "constant_mae_years"}
    assert str(tmp_path) not in json.dumps(card)


def test_training_sees_the_pixels_that_scoring_sees(settings, monkeypatch):
    seen = []
    monkeypatch.setattr(train, "augment", lambda photos, _: seen.append(photos.clone()) or photos)
    chosen = settings(epochs=1, batch_size=2)
    labelled = read_labels(chosen.data)
    train.train(chosen, labelled, labelled)
    files = [(chosen.data / "final_files" / name).read_bytes() for name in labelled.file_names]
    assert {photo.numpy().tobytes() for photo in torch.cat(seen)} == {
        decode_photo(content, 32).tobytes() for content in files
    }


def test_a_varied_photo_is_still_a_photo_and_no_longer_the_same():
    grey = torch.linspace(0, 255, 64).round().to(torch.uint8)
    photos = grey.view(1, 1, 64, 1).expand(6, 64, 64, 3)
    varied = augment(photos, torch.Generator().manual_seed(0))
    assert (varied.shape, varied.dtype) == (photos.shape, torch.uint8)
    middle = varied[:, 16:48, 16:48].float()
    slopes = middle[:, :, -8:].mean(dim=(1, 2, 3)) - middle[:, :, :8].mean(dim=(1, 2, 3))
    assert (slopes > 40).any()
    assert (slopes < -40).any()  # mirrored
    assert not torch.equal(varied[0], varied[1])
    assert torch.equal(varied, augment(photos, torch.Generator().manual_seed(0)))


def test_a_file_of_weights_begins_the_backbone(tmp_path):
    backbone, said = pretrained_backbone("none")
    torch.save(backbone.state_dict(), tmp_path / "faces.pt")
    loaded, where = pretrained_backbone(str(tmp_path / "faces.pt"))
    assert equal(dict(loaded.state_dict()), dict(backbone.state_dict()))
    assert (said, where) == ("none: random weights", "file faces.pt")


def test_without_a_network_training_begins_with_random_weights_and_says_so(monkeypatch):
    shallow = train.resnet50

    def unreachable(*, weights):
        if weights is not None:
            raise OSError("no route to host")
        return shallow()

    monkeypatch.setattr(train, "resnet50", unreachable)
    assert pretrained_backbone("auto")[1] == "none: random weights, ImageNet weights could not be reached"


@pytest.mark.parametrize("content", [None, b"", b"not weights", {"conv1.weight": torch.zeros(1)}, [1, 2]])
def test_a_file_without_weights_is_named(tmp_path, content):
    path = tmp_path / "imagenet.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"pretrained is '.*imagenet\.pt'; it must be auto, none or a file"):
        pretrained_backbone(str(path))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"epochs": 0}, "epochs is 0; it must be between 1 and 1000"),
        ({"batch_size": 1}, "batch_size is 1; it must be between 2 and 4096"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"label_sigma_years": 0.0}, "label_sigma_years is 0.0"),
        ({"held_out_share": 0.9}, "held_out_share is 0.9; it must be between 0.01 and 0.5"),
    ],
)
def test_a_wrong_setting_is_named_with_what_would_be_right(tmp_path, wrong, said):
    with pytest.raises(InputError, match=said):
        Settings(data=tmp_path, out=tmp_path / "age", **wrong)


def test_a_batch_larger_than_the_set_is_named(settings):
    with pytest.raises(InputError, match="batch_size is 64; it must not exceed the 9 training photos"):
        train.main(settings(batch_size=64))


def test_a_set_too_small_to_hold_photos_out_is_named(settings):
    with pytest.raises(InputError, match="too few photos to keep 30% apart"):
        train.main(settings(ages=[30]))
