"""How a model is trained: every number that decides the weights, and three named sets of them.

`model/README.md` has measurements for the mirror image, augmentation and training at a small size first.
`make bench-ablations` measures each choice.
"""

from dataclasses import dataclass
from typing import Literal

from model.cli import InputError
from model.config import Head

Preset = Literal["quick", "full", "original"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run; stored in `model.json`. They are also the flags of `python -m model.train`."""

    preset: Preset = "quick"
    """Recipe to start from: quick (about an hour on 2 cores), full (for a GPU), or original (the network of the first
    study, as a baseline). The flags below override single values of it."""
    head: Head = "distribution"
    """Output of the network: a distribution over ages 0-100, or a scalar, years."""
    image_size: int
    """Side of the square input, pixels."""
    epochs: int
    """Passes over the training photos."""
    batch_size: int
    """Photos per step."""
    learning_rate: float
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, on matrices and kernels."""
    label_sigma_years: float = 2.0
    """Standard deviation of the normal kernel that spreads a label over neighbouring ages, years."""
    variation: float = 0.5
    """How far photos are rotated, shifted, scaled and relit; 0 only mirrors them."""
    erased_share: float = 0.5
    """Share of the photos of which a random rectangle is erased."""

    def __post_init__(self) -> None:
        """Check the range of each number.

        >>> Recipe(image_size=64, epochs=0, batch_size=64, learning_rate=1e-3)
        Traceback (most recent call last):
        ...
        model.cli.InputError: epochs is 0; it must be between 1 and 1000
        """
        for name, low, high in (
            ("image_size", 32, 512),
            ("epochs", 1, 1000),
            ("batch_size", 2, 4096),
            ("learning_rate", 1e-7, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("label_sigma_years", 0.1, 20.0),
            ("variation", 0.0, 2.0),
            ("erased_share", 0.0, 1.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; it must be between {low} and {high}")


PRESETS: dict[Preset, Recipe] = {
    "quick": Recipe(preset="quick", image_size=64, epochs=22, batch_size=64, learning_rate=1e-3),
    "full": Recipe(
        preset="full",
        image_size=192,
        epochs=100,
        batch_size=256,
        learning_rate=2e-3,
        variation=1.0,  # not measured; longer training gains from more (Wightman et al. 2021, "ResNet strikes back")
    ),
    # The first study's network: one number of years, ten epochs at one size, no layer frozen. Augmentation, decoding,
    # optimizer and schedule are the same as in the other presets.
    "original": Recipe(preset="original", head="scalar", image_size=224, epochs=10, batch_size=32, learning_rate=5e-4),
}
