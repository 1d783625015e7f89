"""Augmentation: random changes that do not change a person's age, made on whole batches on the network's device."""

import math

import torch
from torch import Tensor
from torch.nn import functional

_GREY = 124
"""Of an erased rectangle: near the mean of ImageNet's pixels, so near 0 after normalisation."""


def augment(photos: Tensor, generator: torch.Generator, variation: float, erased_share: float) -> Tensor:
    """Mirror, rotate, shift, scale and relight uint8 photos (B, S, S, 3), and erase a rectangle of some.

    Args:
        photos: on any device.
        generator: of the CPU, so that every device gives the same photos.
        variation: scale of the changes. At 1: up to 10 degrees, 8 % of the side, a sixth larger or a tenth smaller, a
            quarter brighter or a fifth darker. At 0 photos are only mirrored.
        erased_share: share of the photos in which a rectangle becomes grey, of 2 to 20 % of their area and up to twice
            as long as wide (random erasing, Zhong et al., AAAI 2020).
    """
    n = len(photos)
    # In one copy: each copy to a GPU waits for the work that is queued there.
    uniform = torch.rand(7, n, generator=generator).to(photos.device, non_blocking=True)  # 0-1

    def around(middle: float, row: int, low: float, high: float) -> Tensor:
        return middle + variation * (low + (high - low) * uniform[row])

    # The grid holds the source of each pixel, so a scale above 1 makes the face smaller.
    angle, scale = around(0, 0, -10, 10) * math.pi / 180, around(1, 1, -0.15, 0.1)
    mirror = torch.where(uniform[2] < 0.5, -1.0, 1.0)
    across = torch.stack([mirror * angle.cos() * scale, -angle.sin() * scale, around(0, 3, -0.08, 0.08)], dim=1)
    down = torch.stack([mirror * angle.sin() * scale, angle.cos() * scale, around(0, 4, -0.08, 0.08)], dim=1)
    pixels = photos.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(torch.stack([across, down], dim=1), list(pixels.shape), align_corners=False)
    pixels = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast, brightness = (around(1, row, -0.2, 0.25).view(n, 1, 1, 1) for row in (5, 6))
    pixels = ((pixels - mean) * contrast + mean * brightness).clamp(0, 255)
    pixels.masked_fill_(_rectangles(photos, erased_share, generator), _GREY)
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1)


def _rectangles(photos: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return a mask of the erased pixels, bool (B, 1, S, S). In 1 - `share` of the photos none are erased."""
    uniform = torch.rand(5, len(photos), 1, generator=generator)
    chosen, area, aspect, top, left = uniform.to(photos.device, non_blocking=True)
    area, aspect = 0.02 + 0.18 * area, 2 ** (2 * aspect - 1)
    height, width = (area * aspect).sqrt(), (area / aspect).sqrt()
    centres = (torch.arange(photos.shape[1], device=photos.device) + 0.5) / photos.shape[1]
    down, across = centres - top * (1 - height), centres - left * (1 - width)  # (B, S)
    rows, columns = (down > 0) & (down < height) & (chosen < share), (across > 0) & (across < width)
    erased: Tensor = rows[:, None, :, None] & columns[:, None, None, :]
    return erased
