"""What a network is built from, as `model.json` stores it. Without torch, so that a driver can check it in no time."""

from dataclasses import dataclass
from typing import Literal, get_args

from model.cli import InputError

N_AGES = 101
"""Bins of the distribution: ages 0 to 100."""

Head = Literal["distribution", "scalar"]


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Everything needed to rebuild the network; stored in `model.json`."""

    head: Head = "distribution"
    """`distribution` over ages 0-100, decoded to its median, or `scalar`: years, as in the original study."""
    image_size: int
    """Side of the square input, pixels."""
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    """Mean of the ImageNet pixels, red, green and blue, scaled to 0-1: pretrained weights expect it."""
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    """Standard deviations of the same."""

    def __post_init__(self) -> None:
        if self.head not in get_args(Head):
            raise InputError(f"head is {self.head!r}; it must be one of {', '.join(get_args(Head))}")
        if type(self.image_size) is not int or not 32 <= self.image_size <= 512:
            raise InputError(f"image_size is {self.image_size!r:.80} pixels; it must be a whole number from 32 to 512")
        for name, values, least in (("mean", self.mean, -1000), ("std", self.std, 0)):
            are_usable = all(type(value) in (int, float) and least < value < 1000 for value in values)
            if len(values) != 3 or not are_usable:
                raise InputError(f"{name} is {values!r:.80}; it must be three numbers between {least} and 1000")
