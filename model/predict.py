"""Inference: a released model, and a stream that scores photos with it.

Scoring and evaluation use the same class, `model.predictor.AgePredictor`. In the stream, threads read and decode photos
while the network computes the batch before. Results come in the order of the paths, whatever batches the photos were
in. This module is imported without torch: a driver that has nothing to score does not need it.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from model.photos.decoding import MAX_PHOTO_BYTES, Pixels, decode_photo
from model.photos.image_file import UnreadablePhotoError
from model.release import checkpoint, weights

if TYPE_CHECKING:
    from torch import Tensor

    from model.predictor import AgePredictor

__all__ = [
    "MAX_PHOTO_BYTES",
    "PhotoScore",
    "UnreadablePhotoError",
    "check",
    "device_of",
    "prepare",
    "score_photos",
    "shared",
    "version",
]

version = checkpoint.version


def check(folder: Path) -> str:
    """Return the version of a model folder, after checking everything that scoring needs.

    Weights of the usual layout, finite and with no negative variance, are checked without torch. Others are loaded as a
    network, whose output is checked too.

    Raises:
        InputError: as `checkpoint.load` and `checkpoint.curves`.
    """
    model_version, config = checkpoint.version(folder), checkpoint.config(folder)
    checkpoint.curves(folder)
    if not weights.are_usual(folder / checkpoint.WEIGHTS, config):
        checkpoint.load(folder)
    return model_version


def prepare(folder: Path) -> str:
    """Compile the network for this machine's processor, as `model.compiled.prepare`."""
    from model import compiled  # noqa: PLC0415

    return compiled.prepare(folder)


class PhotoScore(NamedTuple):
    """Result for one photo. Ages in years; None where the value is unknown."""

    age_years: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    p_under_18: float | None = None
    p_under_25: float | None = None
    status: str = "scored"
    """scored, or unreadable."""
    reason: str | None = None
    detail: str | None = None


def device_of(gpu: str | None) -> str | None:
    """Return torch's device for a GPU that a scheduler has assigned; None, which means any, if it has assigned none.

    The CPU if CUDA can't use that GPU: a late night is better than none, and a broken machine, always idle, would be
    offered every failed task again. The reason is printed. The caller must warn, because the CPU is slower by far.

    Args:
        gpu: index of the GPU on this machine.
    """
    if gpu is None:
        return None
    import torch  # noqa: PLC0415

    try:
        # Used, not counted: the driver also lists a GPU that is faulty, or that another process has for itself.
        torch.zeros(1, device=f"cuda:{gpu}")
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch was built without CUDA
        problem = str(error).split("\n")[0]
        print(f"CUDA can't use GPU {gpu}: {problem}", flush=True)
        return "cpu"
    return f"cuda:{gpu}"


@lru_cache(maxsize=1)
def shared(folder: Path, model_version: str, device: str | None) -> "AgePredictor":
    """Return this process's predictor. It is loaded once, however many tasks the process runs.

    Raises:
        RuntimeError: this machine's folder holds another version than the one that will be written beside the results.
    """
    from model.predictor import AgePredictor  # noqa: PLC0415

    predictor = AgePredictor(folder, device=device)
    if predictor.version != model_version:
        raise RuntimeError(f"{folder} holds model {predictor.version} on this machine; wanted {model_version}")
    return predictor


def score_photos(
    predictor: "AgePredictor",
    paths: Iterable[str],
    read: Callable[[str], bytes],
    *,
    n_threads: int,
    n_batches_ahead: int = 2,
) -> Iterator[PhotoScore]:
    """Score photos in the order of `paths`. An unreadable photo gives a score with a reason.

    Args:
        predictor: the model.
        paths: passed to `read` one by one, at most `n_batches_ahead` batches before they are needed.
        read: returns the content of a file; called from threads. May raise UnreadablePhotoError;
            any other error ends the stream, because unreachable storage says nothing about a photo.
        n_threads: threads that read and decode.
        n_batches_ahead: batches that are decoded ahead of the current one; limits memory.
    """

    def load(path: str) -> Pixels | UnreadablePhotoError:
        try:
            return decode_photo(read(path), predictor.image_size)
        except UnreadablePhotoError as error:
            return error

    threads = ThreadPoolExecutor(n_threads)
    try:
        decoding: deque[Future[Pixels | UnreadablePhotoError]] = deque()
        remaining_paths = iter(paths)
        computing: list[_Batch] = []
        while True:
            n_free = (1 + n_batches_ahead) * predictor.batch_size - len(decoding)
            decoding.extend(threads.submit(load, path) for path in islice(remaining_paths, n_free))
            if not decoding:
                break
            photos = [decoding.popleft().result() for _ in range(min(predictor.batch_size, len(decoding)))]
            readable = [photo for photo in photos if not isinstance(photo, UnreadablePhotoError)]
            estimates = predictor.estimate(np.stack(readable)) if readable else None
            computing.append(_Batch(photos, estimates))
            # On CUDA this batch is computed while the one before is returned and the next one is collected.
            if len(computing) > 1:
                yield from computing.pop(0).scores()
        yield from chain.from_iterable(batch.scores() for batch in computing)
    finally:
        # If the storage does not answer, each pending read would wait for its own timeout.
        threads.shutdown(cancel_futures=True)


class _Batch(NamedTuple):
    photos: list[Pixels | UnreadablePhotoError]
    estimates: "Tensor | None"

    def scores(self) -> Iterator[PhotoScore]:
        rows = iter([] if self.estimates is None else self.estimates.tolist())
        for photo in self.photos:
            if isinstance(photo, UnreadablePhotoError):
                yield PhotoScore(status="unreadable", reason=photo.reason, detail=photo.detail)
            else:
                values: list[Any] = [None if isnan(value) else value for value in next(rows)]
                yield PhotoScore(*values)
