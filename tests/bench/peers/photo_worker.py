"""A worker of the scoring peers: it decodes and scores photos with this project's network."""

import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from model.photos.decoding import Pixels, decode_photo
from model.predictor import AgePredictor

_loading = threading.Lock()


@lru_cache(maxsize=1)
def predictor_of(model: Path, batch: int) -> AgePredictor:
    """Return the network of this process. Daft makes a worker in each of its threads; one network is enough for them.

    The caller holds `_loading`: the cache does not prevent that several threads load it at the same time.
    """
    return AgePredictor(model, batch_size=batch)


class Worker:
    """A loaded model in one process or thread."""

    def __init__(self, model: Path, batch: int, threads: int) -> None:
        torch.set_num_threads(threads)
        with _loading:
            self.predictor = predictor_of(model, batch)

    def decode(self, contents: Sequence[bytes]) -> Pixels:
        """Return the pixels of some files, uint8 (B, S, S, 3)."""
        return np.stack([decode_photo(content, self.predictor.image_size) for content in contents])

    def ages(self, photos: Pixels) -> list[float]:
        """Return the ages of a batch, years."""
        return self.predictor.estimate(photos)[:, 0].tolist()
