"""A worker of the scoring peers: it decodes and scores photos with this project's network."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from model.photos.decoding import Pixels, decode_photo
from model.predict import AgePredictor


class Worker:
    """A loaded model in one process or thread."""

    def __init__(self, model: Path, batch: int, threads: int) -> None:
        torch.set_num_threads(threads)
        self.predictor = AgePredictor(model, batch_size=batch)

    def decode(self, contents: Sequence[bytes]) -> Pixels:
        """Return the pixels of some files, uint8 (B, S, S, 3)."""
        return np.stack([decode_photo(content, self.predictor.image_size) for content in contents])

    def ages(self, photos: Pixels) -> list[float]:
        """Return the ages of a batch, years."""
        return self.predictor.estimate(photos)[:, 0].tolist()
