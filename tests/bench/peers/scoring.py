"""What the scoring peers share: their flags, and a worker that decodes and scores photos with our network."""

import argparse
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


def parse(description: str) -> argparse.Namespace:
    """Parse the flags of a peer."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--events", type=Path, required=True, help="the Parquet file of photo_events")
    parser.add_argument("--landing", type=Path, required=True, help="the folder to which their paths are relative")
    parser.add_argument("--model", type=Path, required=True, help="model folder")
    parser.add_argument("--out", type=Path, required=True, help="new folder for Parquet files: photo_id, age_years")
    parser.add_argument("--workers", type=int, required=True, help="processes that score, 0: none; torch: that decode")
    parser.add_argument("--threads", type=int, required=True, help="threads of torch in each scoring process")
    parser.add_argument("--batch", type=int, required=True, help="photos that the network computes at once")
    parser.add_argument("--apart", action="store_true", help="decode in a stage of its own; torch: always")
    return parser.parse_args()
