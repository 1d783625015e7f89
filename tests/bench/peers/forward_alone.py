"""Run the network alone on random pixels in one or more processes at once, and print the seconds of the slowest."""

import argparse
import multiprocessing
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path

import numpy as np
import torch

from model.predict import prepare
from model.predictor import AgePredictor


def forward(model: Path, n_photos: int, batch: int, threads: int, barrier: Barrier) -> None:
    """Wait until all processes have warmed up, and run the batches."""
    torch.set_num_threads(threads)
    predictor = AgePredictor(model, batch_size=batch)
    size = predictor.image_size
    photos = np.random.default_rng(0).integers(0, 256, (batch, size, size, 3), np.uint8)
    for _ in range(2):
        predictor.output(photos)
    barrier.wait()
    for first in range(0, n_photos, batch):
        predictor.output(photos[: n_photos - first])
    barrier.wait()


def main(flags: argparse.Namespace) -> None:
    """Time the processes together."""
    print(prepare(flags.model))
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(flags.processes + 1)
    shares = [len(part) for part in np.array_split(np.empty(flags.photos), flags.processes)]
    processes = [
        context.Process(target=forward, args=(flags.model, share, flags.batch, flags.threads, barrier), daemon=True)
        for share in shares
    ]
    for process in processes:
        process.start()
    barrier.wait(timeout=300)
    started = time.monotonic()
    barrier.wait(timeout=3600)
    print(f"{flags.photos} photos in {time.monotonic() - started:.3f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--photos", type=int, required=True)
    parser.add_argument("--processes", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    main(parser.parse_args())
