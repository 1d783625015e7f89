"""Inference: one class that runs a released model, and a stream that scores photos with it.

Scoring and evaluation use the same class. In the stream, threads read and decode photos while the network computes
the batch before. Results come in the order of the paths, whatever batches the photos were in.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from itertools import chain, islice
from math import isnan
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from model import compiled, precision
from model.cli import InputError
from model.evaluation import calibration
from model.network import AgeNetwork, decode
from model.photos.data import LabelledPhotos
from model.photos.decoding import MAX_PHOTO_BYTES, Pixels, decode_photo
from model.photos.image_file import UnreadablePhotoError
from model.release import checkpoint

__all__ = [
    "MAX_PHOTO_BYTES",
    "AgePredictor",
    "PhotoScore",
    "UnreadablePhotoError",
    "check",
    "load",
    "network_output",
    "prepare",
    "score_photos",
    "shared",
    "version",
]

prepare = compiled.prepare
version = checkpoint.version


def load(folder: Path) -> tuple[AgeNetwork, calibration.Calibration | None]:
    """Return the network and the calibration of a model folder; None where it has none.

    Raises:
        InputError: as `checkpoint.load`, or the calibration can't be used.
    """
    network = checkpoint.load(folder)
    # A calibration file that is not part of the version must not change the results of that version.
    if calibration.FILE not in checkpoint.read_model_json(folder)["sha256"]:
        return network, None
    path = folder / calibration.FILE
    try:
        return network, calibration.parse(checkpoint.read_json(path))
    except ValueError as error:
        raise InputError(f"{path} can't be used: {error}") from None


def check(folder: Path) -> str:
    """Return the version of a model folder, after loading everything that scoring needs: 1 s.

    Raises:
        InputError: as `load`.
    """
    load(folder)
    return version(folder)


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


class AgePredictor:
    """A released model on one device.

    Batch normalisation is folded into the convolutions in float32, which changes nothing. The convolutions run in
    `precision.native_dtype`. In bfloat16 a photo's age differs between batches by less than 0.1 year.

    Attributes:
        version: as `checkpoint.version`.
        image_size: side of the input, pixels.
        calibration: of the folder; None where it has none.
        batch_size: largest batch. On CUDA every batch is padded to it, because each shape is compiled separately.
    """

    def __init__(
        self,
        folder: Path,
        *,
        device: str | None = None,
        dtype: torch.dtype | None = None,
        batch_size: int | None = None,
    ) -> None:
        """Load a model folder.

        Args:
            folder: as `checkpoint.save` wrote it.
            device: by default CUDA where there is a GPU, else CPU.
            dtype: by default `precision.native_dtype`, and on a CPU the compiled package if `prepare` built it. With
                a given type, a CPU runs the network uncompiled.
            batch_size: by default 256 on CUDA, 32 on a CPU.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.version = version(folder)
        network, stored = load(folder)
        self.image_size = network.config.image_size
        self.batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        self.calibration = stored and stored.to(self.device)
        native = precision.native_dtype(self.device)
        package = compiled.path(folder, self.version, native)
        self._forward: Callable[[Tensor], Tensor]
        self._min_rows = 1
        if self.device.type == "cuda":
            self._forward = self._compile_for_gpu(compiled.folded(network, dtype or native).to(self.device))
            self._min_rows = self.batch_size
        elif dtype is None and package.is_file():
            self._forward = compiled.load(package)
            self._min_rows = compiled.MIN_BATCH
        else:
            self._forward = compiled.folded(network, dtype or native)

    def _compile_for_gpu(self, network: Any) -> Callable[[Tensor], Tensor]:
        """Compile for the only batch shape that is used. Without a C compiler, return the network as it is."""
        forward: Callable[[Tensor], Tensor] = torch.compile(network, dynamic=False)
        size = (self.batch_size, self.image_size, self.image_size, 3)
        try:
            with torch.inference_mode():
                forward(torch.zeros(size, dtype=torch.uint8, device=self.device))
        except RuntimeError as error:  # of Dynamo, Inductor and Triton alike
            print(f"not compiled, so slower: {str(error).splitlines()[0]}", flush=True)
            forward = network
        return forward

    def output(self, photos: Pixels) -> Tensor:
        """Return the network's output on the device, float32: (B, 101) logits, or (B, 1) years of a scalar head.

        Args:
            photos: uint8 (B, S, S, 3), B at most `batch_size`.
        """
        # The batch is created inside inference mode: the network is compiled again for a tensor created outside.
        with torch.inference_mode():
            batch = torch.from_numpy(photos)
            if len(photos) < self._min_rows:
                padding = torch.zeros(self._min_rows - len(photos), *batch.shape[1:], dtype=torch.uint8)
                batch = torch.cat([batch, padding])
            if self.device.type == "cuda":
                batch = batch.pin_memory().to(self.device, non_blocking=True)
            return self._forward(batch)[: len(photos)]

    def estimate(self, photos: Pixels) -> Tensor:
        """Return (B, 5) float32 on the device: age_years, age_low, age_high, p_under_18, p_under_25; calibrated.

        On CUDA this returns before the result is computed; reading the result waits for it.

        Args:
            photos: as `output`.
        """
        with torch.inference_mode():
            ages = decode(self.output(photos), self.calibration)
            columns = [ages.age_years, ages.age_low, ages.age_high, ages.p_under_18, ages.p_under_25]
            return torch.stack(columns, dim=1)


def network_output(predictor: AgePredictor, labelled: LabelledPhotos) -> Tensor:
    """Return the network's output for every photo, on the CPU: (N, 101) logits or (N, 1) years."""
    photos = labelled.pixels(predictor.image_size)
    starts = range(0, len(photos), predictor.batch_size)
    progress = tqdm(starts, "evaluate", unit="batch", delay=5)
    return torch.cat([predictor.output(photos[start : start + predictor.batch_size]).cpu() for start in progress])


@lru_cache(maxsize=1)
def shared(folder: Path, model_version: str, device: str | None) -> AgePredictor:
    """Return this process's predictor. It is loaded once, however many tasks the process runs.

    Raises:
        RuntimeError: this machine's folder holds another version than the one that will be written beside the results.
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
    estimates: Tensor | None

    def scores(self) -> Iterator[PhotoScore]:
        rows = iter([] if self.estimates is None else self.estimates.tolist())
        for photo in self.photos:
            if isinstance(photo, UnreadablePhotoError):
                yield PhotoScore(status="unreadable", reason=photo.reason, detail=photo.detail)
            else:
                values: list[Any] = [None if isnan(value) else value for value in next(rows)]
                yield PhotoScore(*values)
