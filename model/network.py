"""ResNet-50 with a new top: a distribution over ages, or one number as in the original study.

Ages are completed years, as in the labels: `real_age` 30 is bin 30 of the distribution. Bin `a` is spread evenly over
[a - 0.5, a + 0.5). A distribution that is all on 30 decodes to 30.0, and a decoded age rounds to completed years.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from model.cli import InputError, short
from model.config import N_AGES, NetworkConfig
from model.resnet import ResNet


class AgeNetwork(nn.Module):
    """Photos in, age out. Normalisation is part of the network, so training and scoring can't differ in it."""

    def __init__(self, config: NetworkConfig, backbone: ResNet | None = None) -> None:
        super().__init__()
        self.config = config
        self.backbone = backbone or ResNet()
        self.backbone.fc = nn.Identity()
        self.top = nn.Linear(2048, N_AGES if config.head == "distribution" else 1)
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.tensor(config.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(config.std).view(1, 3, 1, 1), persistent=False)

    def init_output_bias(self, ages: npt.NDArray[np.int64]) -> None:
        """Set the bias of the top so that an untrained network predicts the distribution of the labels.

        Otherwise the first epochs would be spent on learning it.

        Args:
            ages: (N,) labels of the training part.
        """
        bias = self.top.bias
        if self.config.head == "scalar":
            nn.init.constant_(bias, float(np.median(ages)))
            return
        counts = torch.bincount(torch.from_numpy(ages), minlength=N_AGES).float()
        kernel = torch.exp(-0.5 * ((torch.arange(N_AGES) - torch.arange(N_AGES)[:, None]) / 3) ** 2)  # (101, 101)
        with torch.no_grad():
            bias.copy_((kernel @ counts + 1).log())

    def forward(self, photos: Tensor) -> Tensor:
        """Return logits over ages, float32 (B, 101), or years (B, 1) with the scalar head.

        Outside training, the probabilities (or years) of a photo and its mirror image are averaged.

        Args:
            photos: uint8 (B, S, S, 3).
        """
        if self.training:
            return self.single_view(photos)
        views = self.single_view(torch.cat([photos, photos.flip(2)])).view(2, photos.shape[0], -1)  # (2, B, 101 or 1)
        averaged: Tensor = views.mean(0) if self.config.head == "scalar" else views.log_softmax(2).logsumexp(0)
        return averaged

    def single_view(self, photos: Tensor) -> Tensor:
        """Return the output for the photos as they are, without their mirror images: as `forward` in training."""
        pixels = photos.permute(0, 3, 1, 2).float() / 255.0  # (B, 3, S, S)
        pixels = (pixels - self.mean) / self.std
        features = self.backbone(pixels.to(self.backbone.conv1.weight.dtype))  # (B, 2048)
        # In half precision a scalar head would give years in steps of a quarter or a half.
        with torch.autocast("cpu", enabled=False), torch.autocast("cuda", enabled=False):
            output: Tensor = self.top(features.float())
        return output


@dataclass(frozen=True, kw_only=True)
class AgeEstimate:
    """Estimates of a batch, all float32 (B,). NaN where the scalar head has no distribution."""

    age_years: Tensor
    age_low: Tensor
    age_high: Tensor
    p_under_18: Tensor
    p_under_25: Tensor


INTERVAL = (0.1, 0.9)
"""Quantiles of `age_low` and `age_high`: an 80 % interval."""


def decode(output: Tensor, calibrate: Callable[[Tensor], Tensor] | None = None) -> AgeEstimate:
    """Decode the network's output to ages: the median, an 80 % interval and two probabilities.

    The median minimises the expected absolute error of a distribution.

    Args:
        output: (B, 101) logits, or (B, 1) years.
        calibrate: maps the network's probabilities (B, 101) to calibrated ones.

    >>> logits = torch.full((1, 101), -torch.inf)
    >>> logits[0, [17, 30]] = torch.tensor([0.25, 0.75]).log()
    >>> estimate = decode(logits)
    >>> round(estimate.age_years.item(), 2), round(estimate.p_under_18.item(), 2)
    (29.83, 0.25)
    """
    if output.shape[1] == 1:
        years = output[:, 0].clamp(0, N_AGES - 1)
        unknown = torch.full_like(years, torch.nan)
        return AgeEstimate(age_years=years, age_low=unknown, age_high=unknown, p_under_18=unknown, p_under_25=unknown)
    mass = functional.softmax(output.float(), dim=1)  # (B, 101)
    if calibrate is not None:
        mass = calibrate(mass)
    cumulative = mass.cumsum(dim=1)
    return AgeEstimate(
        age_years=quantile(mass, 0.5),
        age_low=quantile(mass, INTERVAL[0]),
        age_high=quantile(mass, INTERVAL[1]),
        p_under_18=cumulative[:, 17].clamp(max=1),
        p_under_25=cumulative[:, 24].clamp(max=1),
    )


def quantile(mass: Tensor, level: float) -> Tensor:
    """Return the age (B,) at which the cumulative distribution of `mass` (B, 101) reaches `level`.

    Within a bin the distribution is linear.

    >>> mass = torch.zeros(1, 101)
    >>> mass[0, 30] = 1
    >>> quantile(mass, 0.5), quantile(mass, 0.9)
    (tensor([30.]), tensor([30.4000]))
    """
    cumulative = mass.cumsum(dim=1)
    bin_index = (cumulative < level).sum(dim=1, keepdim=True).clamp(max=N_AGES - 1)  # (B, 1)
    mass_in_bin = mass.gather(1, bin_index)
    mass_below = cumulative.gather(1, bin_index) - mass_in_bin
    fraction = ((level - mass_below) / mass_in_bin.clamp(min=1e-12)).clamp(0, 1)
    return (bin_index + fraction - 0.5).clamp(0, N_AGES - 1).squeeze(1)


def loss(output: Tensor, ages: Tensor, *, label_sigma_years: float) -> Tensor:
    """Return the training loss, averaged over the batch.

    Distribution: cross-entropy against the label spread by a normal kernel, so that neighbouring ages share evidence
    (label distribution learning, Gao et al., IEEE TIP 2017). Scalar head: absolute error.

    Args:
        output: (B, 101) logits or (B, 1) years.
        ages: (B,) completed years.
        label_sigma_years: standard deviation of the kernel, years.
    """
    if output.shape[1] == 1:
        return functional.l1_loss(output[:, 0], ages.float())
    bins = torch.arange(N_AGES, device=output.device)
    target = torch.softmax(-((bins - ages[:, None]) ** 2) / (2 * label_sigma_years**2), dim=1)  # (B, 101)
    return functional.cross_entropy(output, target)


def pretrained_backbone(source: str) -> tuple[ResNet, str]:
    """Return a ResNet-50 and a description of its initial weights, for `model.json`.

    Args:
        source: `auto` (ImageNet, or random if it can't be downloaded), `none` (random), or the path of a state dict.

    Raises:
        InputError: `source` is a path without ResNet-50 weights.
    """
    if source == "auto":
        try:
            # Here, because the import takes as long as that of torch. It fails beside a torch build of another kind.
            from torchvision.models import ResNet50_Weights  # noqa: PLC0415

            # Before a network is built, so that after a failure the same random numbers are drawn as for `none`.
            state = ResNet50_Weights.IMAGENET1K_V2.get_state_dict(check_hash=True)
        except (ImportError, OSError, RuntimeError, HTTPException) as error:
            print(f"ImageNet weights can't be downloaded ({error}); starting with random weights")
            return _random_backbone(), "none: random weights, ImageNet weights could not be downloaded"
        backbone = ResNet()
        backbone.load_state_dict(state)
        return backbone, "ImageNet (torchvision IMAGENET1K_V2)"
    if source == "none":
        return _random_backbone(), "none: random weights"
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        backbone = ResNet()
        backbone.load_state_dict(state)
    except (OSError, EOFError, UnpicklingError, RuntimeError, AttributeError, TypeError) as error:
        raise InputError(
            f"pretrained is {source!r}; it must be auto, none or a file with ResNet-50 weights: {short(error)}"
        ) from None
    # With its hash, because the content of the file may change.
    return backbone, f"file {Path(source).name} {hashlib.sha256(Path(source).read_bytes()).hexdigest()[:12]}"


def _random_backbone() -> ResNet:
    # Each residual block starts as the identity, which makes the first epochs of a deep network easier (Goyal et al.
    # 2017).
    return ResNet(zero_init_residual=True)
