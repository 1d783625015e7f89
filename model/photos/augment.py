"""Random changes that leave a face the age it is, made on whole batches where the network is."""

import math

import torch
from torch import Tensor
from torch.nn import functional


def augment(photos: Tensor, generator: torch.Generator, variation: float, erased_share: float) -> Tensor:
    """Vary uint8 photos (B, S, S, 3): mirrored, turned, shifted, scaled, lit otherwise, a part of some erased.

    Args:
        photos: on any device.
        generator: of the CPU, so that every device draws the same.
        variation: how far. At 1 up to 10 degrees, 8 % of the side, a sixth larger or a tenth smaller, a quarter
            brighter or a fifth darker; in proportion to it otherwise, so that 0 only mirrors.
        erased_share: of the photos that lose a grey rectangle of 2 to 20 % of their area, up to twice as long as wide
            (random erasing, Zhong et al., AAAI 2020).
    """
    n = len(photos)
    # Moved at once: each copy to a GPU waits for what runs there.
    drawn = torch.rand(7, n, generator=generator).to(photos.device, non_blocking=True)  # 0-1

    def around(middle: float, row: int, low: float, high: float) -> Tensor:
        return middle + variation * (low + (high - low) * drawn[row])

    # The grid says where each pixel comes from, so a scale above 1 makes the face smaller.
    angle, scale = around(0, 0, -10, 10) * math.pi / 180, around(1, 1, -0.15, 0.1)
    mirror = torch.where(drawn[2] < 0.5, -1.0, 1.0)
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


_GREY = 124
"""Near the mean of ImageNet's pixels, so near 0 once normalised."""


def _rectangles(photos: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Return where photos are erased: bool (B, 1, S, S); nowhere in 1 - `share` of them."""
    drawn = torch.rand(5, len(photos), 1, generator=generator)
    chosen, area, shape, top, left = drawn.to(photos.device, non_blocking=True)
    area, shape = 0.02 + 0.18 * area, 2 ** (2 * shape - 1)
    height, width = (area * shape).sqrt(), (area / shape).sqrt()
    place = (torch.arange(photos.shape[1], device=photos.device) + 0.5) / photos.shape[1]
    down, across = place - top * (1 - height), place - left * (1 - width)  # (B, S)
    rows, columns = (down > 0) & (down < height) & (chosen < share), (across > 0) & (across < width)
    erased: Tensor = rows[:, None, :, None] & columns[:, None, None, :]
    return erased
