import pytest
import torch
from torchvision.models import ResNet50_Weights

from model import network
from model.cli import InputError
from model.network import pretrained_backbone


def equal(state, other):
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


def test_backbone_starts_with_the_weights_of_a_file(tmp_path):
    backbone, description = pretrained_backbone("none")
    torch.save(backbone.state_dict(), tmp_path / "faces.pt")
    loaded, file_description = pretrained_backbone(str(tmp_path / "faces.pt"))
    assert equal(dict(loaded.state_dict()), dict(backbone.state_dict()))
    assert description == "none: random weights"
    assert file_description.startswith("file faces.pt ")
    torch.save({**backbone.state_dict(), "conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "faces.pt")
    assert pretrained_backbone(str(tmp_path / "faces.pt"))[1] != file_description


def test_without_internet_access_the_weights_are_random(monkeypatch):
    def unreachable(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", unreachable)
    torch.manual_seed(0)
    backbone, description = pretrained_backbone("auto")
    assert description == "none: random weights, ImageNet weights could not be downloaded"
    torch.manual_seed(0)
    assert equal(dict(backbone.state_dict()), dict(pretrained_backbone("none")[0].state_dict()))


def test_imagenet_weights_are_used_where_they_can_be_downloaded(monkeypatch):
    state = network.ResNet().state_dict()
    monkeypatch.setattr(ResNet50_Weights, "get_state_dict", lambda *_, **__: state)
    backbone, description = pretrained_backbone("auto")
    assert description == "ImageNet (torchvision IMAGENET1K_V2)"
    assert equal(dict(backbone.state_dict()), dict(state))


@pytest.mark.parametrize("content", [None, b"", b"not weights", {"conv1.weight": torch.zeros(1)}, [1, 2]])
def test_file_without_weights_is_reported(tmp_path, content):
    path = tmp_path / "imagenet.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InputError, match=r"pretrained is '.*imagenet\.pt'; it must be auto, none or a file"):
        pretrained_backbone(str(path))
