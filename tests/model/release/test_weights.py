import math

import pytest
import torch
from safetensors.torch import load_file, save_file

from model.network import AgeNetwork, NetworkConfig
from model.release import checkpoint, weights
from model.resnet import ResNet

CONFIGS = {head: NetworkConfig(head=head, image_size=64) for head in ("distribution", "scalar")}


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Weights files of whole networks, by head."""
    root = tmp_path_factory.mktemp("stored")
    for head, config in CONFIGS.items():
        checkpoint.save(root / head, AgeNetwork(config, ResNet()), {})
    return {head: root / head / "weights.safetensors" for head in CONFIGS}


@pytest.mark.parametrize("head", CONFIGS)
def test_weights_of_our_networks_are_usual(stored, head):
    assert weights.are_usual(stored[head], CONFIGS[head])


def test_weights_of_the_other_head_are_not(stored):
    assert not weights.are_usual(stored["scalar"], CONFIGS["distribution"])


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values["top.bias"].fill_(math.nan),
        lambda values: values["backbone.layer4.2.conv3.weight"][3, 4].fill_(-math.inf),
        lambda values: values["backbone.layer1.0.downsample.1.running_var"][7].fill_(-1e-3),
        lambda values: values.pop("backbone.bn1.bias"),
        lambda values: values.update(extra=torch.zeros(1)),
        lambda values: values.update({"top.bias": torch.zeros(101, 1)}),
        lambda values: values.update({"top.bias": torch.zeros(101, dtype=torch.float16)}),
    ],
)
def test_changed_weights_are_not_usual(stored, tmp_path, change):
    values = load_file(stored["distribution"])
    change(values)
    save_file(values, tmp_path / "changed.safetensors")
    assert not weights.are_usual(tmp_path / "changed.safetensors", CONFIGS["distribution"])


def test_files_of_numpy_and_torch_are_the_same(stored, tmp_path):
    save_file(load_file(stored["scalar"]), tmp_path / "by_torch.safetensors")
    assert (tmp_path / "by_torch.safetensors").read_bytes() == stored["scalar"].read_bytes()
