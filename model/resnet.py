"""ResNet-50 (He et al. 2016), version 1.5: a block halves the picture in its 3x3 convolution.

Its weights have the names of torchvision's, and a seed gives the same random numbers, so models that were trained with
torchvision's network and ImageNet weights fit. torchvision is not imported, because that takes as long as torch itself.
"""

from collections.abc import Sequence
from copy import deepcopy
from itertools import pairwise
from typing import TypeVar

from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class Bottleneck(nn.Module):
    """Three convolutions whose result is added to the input."""

    def __init__(self, n_in: int, width: int, n_out: int, stride: int) -> None:
        super().__init__()
        downsample = None
        if stride != 1 or n_in != n_out:  # before the others, for the order of the random numbers
            downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.conv1 = nn.Conv2d(n_in, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample

    def forward(self, pixels: Tensor) -> Tensor:
        """Return (B, n_out, S / stride, S / stride) for (B, n_in, S, S)."""
        out = self.relu(self.bn1(self.conv1(pixels)))  # (B, width, S, S)
        out = self.relu(self.bn2(self.conv2(out)))  # (B, width, S / stride, S / stride)
        out = self.bn3(self.conv3(out))
        out += pixels if self.downsample is None else self.downsample(pixels)
        activated: Tensor = self.relu(out)
        return activated


class ResNet(nn.Module):
    """ResNet-50, with the 1000 classes of ImageNet as torchvision's."""

    def __init__(
        self, *, n_blocks: Sequence[int] = (3, 4, 6, 3), width: int = 64, zero_init_residual: bool = False
    ) -> None:
        """Draw random weights.

        Args:
            n_blocks: of each of the four layers.
            width: channels of the 3x3 convolutions of the first layer.
            zero_init_residual: each block starts as the identity.
        """
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _layer(64, width, 256, n_blocks[0], stride=1)
        self.layer2 = _layer(256, 2 * width, 512, n_blocks[1], stride=2)
        self.layer3 = _layer(512, 4 * width, 1024, n_blocks[2], stride=2)
        self.layer4 = _layer(1024, 8 * width, 2048, n_blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc: nn.Module = nn.Linear(2048, 1000)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(module, Bottleneck) and zero_init_residual:
                nn.init.zeros_(module.bn3.weight)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the output of `fc`, (B, 1000), for normalised pixels (B, 3, S, S)."""
        out = self.maxpool(self.relu(self.bn1(self.conv1(pixels))))  # (B, 64, S / 4, S / 4)
        out = self.layer4(self.layer3(self.layer2(self.layer1(out))))  # (B, 2048, S / 32, S / 32)
        classes: Tensor = self.fc(self.avgpool(out).flatten(1))
        return classes


def _layer(n_in: int, width: int, n_out: int, n_blocks: int, stride: int) -> nn.Sequential:
    first = Bottleneck(n_in, width, n_out, stride)
    return nn.Sequential(first, *(Bottleneck(n_out, width, n_out, 1) for _ in range(1, n_blocks)))


def folded(network: AnyModule) -> AnyModule:
    """Return a copy whose batch normalisations are folded into the convolutions before them; for evaluation only."""
    copy = deepcopy(network)
    for module in copy.modules():
        for (conv_name, conv), (norm_name, norm) in pairwise(list(module.named_children())):
            if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                setattr(module, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(module, norm_name, nn.Identity())
    return copy
