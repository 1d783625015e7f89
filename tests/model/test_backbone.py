import pytest
import torch
from torchvision.models import ResNet50_Weights

from model import network
from model.cli import InputError
from model.network import pretrained_backbone


def equal(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_file_of_weights_begins_the_backbone(tmp_path):
    backbone, said = pretrained_backbone("none")
    torch.save(backbone.state_dict(), tmp_path / "faces.pt")
    loaded, where = pretrained_backbone(str(tmp_path / "faces.pt"))
    assert equal(dict(loaded.state_dict()), dict(backbone.state_dict()))
    assert said == "none: random weights"
    assert where.startswith("file faces.pt ")
    torch.save({**backbone.state_dict(), "conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "faces.pt")
    assert pretrained_backbone(str(tmp_path / "faces.pt"))[1] != where


def test_without_a_network_training_begins_with_random_weights_and_says_so(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", unreachable)
    torch.manual_seed(0)
    tried, said = pretrained_backbone("auto")
    assert said == "none: random weights, ImageNet weights could not be downloaded"
    torch.manual_seed(0)
    assert equal(dict(tried.state_dict()), dict(pretrained_backbone("none")[0].state_dict()))


def test_imagenet_weights_are_used_where_they_can_be_reached(monkeypatch):
    there = network.resnet50(weights=None).state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_, **__: there)
    backbone, said = pretrained_backbone("auto")
    assert said == "ImageNet (torchvision IMAGENET1K_V2)"
    assert equal(dict(backbone.state_dict()), dict(there))


@pytest.mark.parametrize("content", [None, b"", b"not weights", {"conv1.weight": torch.zeros(1)}, [1, 2]])
def test_a_file_without_weights_is_named(tmp_path, content):
    path = tmp_path / "imagenet.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"pretrained is '.*imagenet\.pt'; it must be auto, none or a file"):
        pretrained_backbone(str(path))
