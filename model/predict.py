"""Inference, at night and in judging alike: one class that runs a released model, and a stream that keeps it fed.

In the stream photos are read and decoded in threads while the network works on the batch before; results come back in
order, whatever batches they travelled in.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model import compiled as package
from model.evaluation import calibration
from model.network import decode
from model.photos.data import MAX_PHOTO_BYTES, LabelledPhotos, Pixels, UnreadablePhotoError, decode_photo
from model.release import checkpoint

__all__ = [
    "MAX_PHOTO_BYTES",
    "AgePredictor",
    "PhotoScore",
    "UnreadablePhotoError",
    "network_output",
    "prepare",
    "score_photos",
    "shared",
    "version",
]

prepare = package.prepare
version = checkpoint.version
Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto` is bfloat16, or float32 on a CPU without instructions for it; `float16` is for CUDA only."""


class PhotoScore(NamedTuple):
    """What is known of one photo; ages in years, None where nothing is known."""

    age_years: float | None = None
    age_low: float | None = None
    age_high: float | None = None
    p_under_18: float | None = None
    p_under_25: float | None = None
    status: str = "scored"
    """scored, or unreadable."""
    reason: str | None = None
    detail: str | None = None


class AgePredictor:
    """A released model on one device.

    Batch normalisation is folded into the convolutions (in float32, so nothing is lost) and the rest runs in
    bfloat16 where the processor has instructions for it; a photo's age is the same in any batch within 0.1 year.

    Attributes:
        version: as `checkpoint.version`.
        image_size: side of the pixels it takes.
        calibration: of the folder; None where it has none.
        batch_size: the largest batch; on CUDA every batch is padded to it, as each shape is compiled anew.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        precision: Precision = "auto",
        batch_size: int | None = None,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.version = version(folder)
        network = checkpoint.load(folder)
        self.image_size = network.config.image_size
        self.batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        # A file that the version does not name has no say in what is done under its name.
        is_calibrated = calibration.FILE in checkpoint.read_card(folder)["sha256"]
        stored = folder / calibration.FILE
        loaded = calibration.load(stored.read_text(encoding="utf-8")) if is_calibrated else None
        self.calibration = loaded and loaded.to(self.device)
        built = package.path(folder, self.version)
        self._forward: Callable[[Tensor], Tensor]
        if self.device.type == "cuda":
            dtype = torch.bfloat16 if precision == "auto" else getattr(torch, precision)
            self._forward = self._compiled(package.folded(network, dtype).to(self.device))
        elif precision == "float16":
            raise ValueError("precision is float16; a CPU takes auto, float32 or bfloat16")
        elif precision == "float32" or (precision == "auto" and not package.cpu_has_bfloat16()):
            self._forward = package.folded(network, torch.float32)
        elif built.is_file():
            self._forward = package.load(built)
        else:
            self._forward = package.folded(network, torch.bfloat16)

    def _compiled(self, network: Any) -> Callable[[Tensor], Tensor]:
        """Compile for the one shape of batches, or run as it is where that can't be done (no C compiler)."""
        compiled: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
        size = (self.batch_size, self.image_size, self.image_size, 3)
        try:
            with torch.inference_mode():
                compiled(torch.zeros(size, dtype=torch.uint8, device=self.device))
        except RuntimeError as error:  # of Dynamo, Inductor and Triton alike
            print(f"not compiled, so slower: {str(error).splitlines()[0]}", flush=True)
            compiled = network
        return compiled

    def output(self, photos: Pixels) -> Tensor:
        """Return the network's output on the device, float32: (B, 101) logits, or (B, 1) years of a scalar head.

        Args:
            photos: uint8 (B, S, S, 3), B at most `batch_size`.
        """
        # From the first line: a network is compiled anew for a tensor that was made outside.
        with torch.inference_mode():
            batch = torch.from_numpy(photos)
            # A package takes no batch of one: export treats 0 and 1 as constants.
            n_rows = self.batch_size if self.device.type == "cuda" else max(2, len(photos))
            if len(photos) < n_rows:
                padding = torch.zeros(n_rows - len(photos), *batch.shape[1:], dtype=torch.uint8)
                batch = torch.cat([batch, padding])
            if self.device.type == "cuda":
                batch = batch.pin_memory().to(self.device, non_blocking=True)
            return self._forward(batch)[: len(photos)]

    def estimate(self, photos: Pixels) -> Tensor:
        """Return (B, 5) float32 on the device: age_years, age_low, age_high, p_under_18, p_under_25; calibrated.

        On CUDA the result is not waited for: reading it waits.

        Args:
            photos: as `output`.
        """
        with torch.inference_mode():
            ages = decode(self.output(photos), self.calibration)
            columns = [ages.age_years, ages.age_low, ages.age_high, ages.p_under_18, ages.p_under_25]
            return torch.stack(columns, dim=1)


def network_output(predictor: AgePredictor, labelled: LabelledPhotos) -> Tensor:
    """Return what the network says of every photo, on the CPU: (N, 101) logits or (N, 1) years."""
    photos = labelled.pixels(predictor.image_size)
    starts = range(0, len(photos), predictor.batch_size)
    progress = tqdm(starts, "judge", unit="batch", delay=5)
    return torch.cat([predictor.output(photos[start : start + predictor.batch_size]).cpu() for start in progress])


@lru_cache(maxsize=1)
def shared(folder: Path, model_version: str, device: str | None) -> AgePredictor:
    """Return this process's predictor, loaded once however many tasks it runs.

    Raises:
        RuntimeError: this machine's folder holds another model than the one that the results will be named after.
    """
    predictor = AgePredictor(folder, device=device)
    if predictor.version != model_version:
        raise RuntimeError(f"{folder} holds model {predictor.version} on this machine; wanted {model_version}")
    return predictor


def score_photos(
    predictor: AgePredictor,
    paths: Iterable[str],
    read: Callable[[str], bytes],
    *,
    n_threads: int,
    n_batches_ahead: int = 2,
) -> Iterator[PhotoScore]:
    """Score photos one after another, in the order of `paths`; a bad one is a score with a reason.

    Args:
        predictor: does the work.
        paths: handed to `read` one by one, at most `n_batches_ahead` batches before they are needed.
        read: returns the content of a file; called from threads. May raise UnreadablePhotoError; any other
            error ends the stream, since a store that can't be reached is no property of a photo.
        n_threads: threads that read and decode.
        n_batches_ahead: how much is decoded beyond the batch at work; bounds memory.
    """

    def load(path: str) -> Pixels | UnreadablePhotoError:
        try:
            return decode_photo(read(path), predictor.image_size)
        except UnreadablePhotoError as error:
            return error

    threads = ThreadPoolExecutor(n_threads)
    try:
        waiting: deque[Future[Pixels | UnreadablePhotoError]] = deque()
        supply = iter(paths)
        running: list[_Running] = []
        while True:
            missing = (1 + n_batches_ahead) * predictor.batch_size - len(waiting)
            waiting.extend(threads.submit(load, path) for path in islice(supply, missing))
            if not waiting:
                break
            photos = [waiting.popleft().result() for _ in range(min(predictor.batch_size, len(waiting)))]
            readable = [photo for photo in photos if not isinstance(photo, UnreadablePhotoError)]
            estimates = predictor.estimate(np.stack(readable)) if readable else None
            running.append(_Running(photos, estimates))
            # On CUDA this batch computes while the one before is handed out and the next is gathered.
            if len(running) > 1:
                yield from running.pop(0).scores()
        yield from chain.from_iterable(batch.scores() for batch in running)
    finally:
        # Where a store does not answer, each read ahead would wait for its own time-out.
        threads.shutdown(cancel_futures=True)


class _Running(NamedTuple):
    photos: list[Pixels | UnreadablePhotoError]
    estimates: Tensor | None

    def scores(self) -> Iterator[PhotoScore]:
        rows = iter([] if self.estimates is None else self.estimates.tolist())
        for photo in self.photos:
            if isinstance(photo, UnreadablePhotoError):
                yield PhotoScore(status="unreadable", reason=photo.reason, detail=photo.detail)
            else:
                known: list[Any] = [None if isnan(value) else value for value in next(rows)]
                yield PhotoScore(*known)
