"""Score photos with Ray Data: a pool of actors with the model; tasks or the actors read and decode the files."""

import argparse
import os
from pathlib import Path

import numpy as np
import ray
from peer_flags import parse
from ray.data import ActorPoolStrategy, DataContext

from model.photos.decoding import decode_photo

Batch = dict[str, np.ndarray]


class Scorer:
    """An actor."""

    def __init__(self, flags: argparse.Namespace) -> None:
        from photo_worker import Worker  # noqa: PLC0415  only the processes that score need torch

        self.landing = flags.landing
        self.worker = Worker(flags.model, flags.batch, flags.threads)

    def __call__(self, batch: Batch) -> Batch:
        """Add the ages, from pixels if there are some."""
        photos = batch.pop("pixels") if "pixels" in batch else self.worker.decode(contents(self.landing, batch))
        return {"photo_id": batch["photo_id"], "age_years": np.array(self.worker.ages(photos))}


def contents(landing: Path, batch: Batch) -> list[bytes]:
    """Read the files of a batch."""
    return [(landing / path).read_bytes() for path in batch["path"]]


def pixels(batch: Batch, landing: Path, size: int) -> Batch:
    """Read and decode the files of a batch."""
    return batch | {"pixels": np.stack([decode_photo(content, size) for content in contents(landing, batch)])}


def main(flags: argparse.Namespace) -> None:
    """Score all photos and write their ages."""
    n_cores = len(os.sched_getaffinity(0))
    ray.init(num_cpus=n_cores, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    DataContext.get_current().enable_progress_bars = False
    events = ray.data.read_parquet(str(flags.events)).select_columns(["photo_id", "path"])
    events = events.repartition(target_num_rows_per_block=flags.batch)  # one file would be one block
    if flags.apart:
        events = events.map_batches(
            pixels, fn_kwargs={"landing": flags.landing, "size": flags.image_size}, batch_size=flags.batch, num_cpus=0.5
        )
    scored = events.map_batches(
        Scorer,
        fn_constructor_args=[flags],
        batch_size=flags.batch,
        # Actors reserve half of the cores: if they reserve all, the tasks that read and write never start.
        num_cpus=n_cores / flags.workers / 2,
        compute=ActorPoolStrategy(size=flags.workers),
    )
    scored.write_parquet(str(flags.out))


if __name__ == "__main__":
    main(parse(__doc__))
