"""How a model is trained: every figure that shapes the weights, and the three sets of them that have names.

What was measured of these choices is in `model/README.md`.
"""

from dataclasses import dataclass
from typing import Literal

from model.cli import InputError
from model.network import Head

Preset = Literal["quick", "full", "original"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Settings of a training run; stored in `model.json`."""

    head: Head = "distribution"
    """What the network returns: a distribution over ages 0-100, or one number of years."""
    image_size: int
    """Side of the input, pixels; the model's for good."""
    epochs: int
    """Passes over the training part."""
    batch_size: int
    """Photos a step."""
    learning_rate: float
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.05
    """Decoupled weight decay of AdamW, on matrices and kernels."""
    label_sigma_years: float = 2.0
    """Width of the normal kernel that blurs a label over neighbouring ages, years."""

    variation: float = 0.5
    """How far photos are turned, shifted, scaled, lit, as `augment`; 0 only mirrors them."""
    erased_share: float = 0.5
    """Share of the photos that lose a rectangle, each epoch others."""

    def __post_init__(self) -> None:
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
    "quick": Recipe(image_size=64, epochs=22, batch_size=64, learning_rate=1e-3),
    "full": Recipe(
        image_size=192,
        epochs=100,
        batch_size=256,
        learning_rate=2e-3,
        variation=1.0,  # not measured; longer trainings gain from more (Wightman et al. 2021, "ResNet strikes back")
    ),
    "original": Recipe(
        head="scalar",
        image_size=224,
        epochs=10,
        batch_size=32,
        learning_rate=5e-4,
    ),
}
"""`quick` takes about an hour on 2 cores, `full` wants a GPU. `original` is the first study's network: one number of
years, ten epochs at one size, no layer frozen; how photos are varied and read, optimiser and schedule
are today's."""
