"""Score photos with Daft: its own download of the files, and a class with the model."""

import argparse

import daft
import numpy as np
from daft import DataType, Series, col
from daft.functions import download
from peer_flags import parse

from model.photos.decoding import decode_photo


def main(flags: argparse.Namespace) -> None:
    """Score all photos and write their ages."""
    size = flags.image_size

    @daft.func(return_dtype=DataType.tensor(DataType.uint8(), (size, size, 3)))
    def decoded(content: bytes) -> np.ndarray:
        return decode_photo(content, size)

    # With a number, Daft 0.7 always starts processes; without, it calls the class from threads of its own process.
    @daft.cls(max_concurrency=flags.workers or None)
    class Scorer:
        def __init__(self) -> None:
            from photo_worker import Worker  # noqa: PLC0415  only the processes that score need torch

            self.worker = Worker(flags.model, flags.batch, flags.threads)

        @daft.method.batch(return_dtype=DataType.float64(), batch_size=flags.batch)
        def of_files(self, contents: Series) -> list[float]:
            return self.worker.ages(self.worker.decode(contents.to_pylist()))

        @daft.method.batch(return_dtype=DataType.float64(), batch_size=flags.batch)
        def of_pixels(self, photos: Series) -> list[float]:
            return self.worker.ages(np.stack(photos.to_pylist()))

    content = download(daft.lit(f"file://{flags.landing}/") + col("path"))
    score = Scorer()
    age_years = score.of_pixels(decoded(content)) if flags.apart else score.of_files(content)
    events = daft.read_parquet(str(flags.events))
    # Without smaller batches, one worker gets all photos of the file.
    batches = events.into_batches(flags.batch)
    batches.select(col("photo_id"), age_years.alias("age_years")).write_parquet(str(flags.out))


if __name__ == "__main__":
    main(parse(__doc__))
