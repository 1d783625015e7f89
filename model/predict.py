"""Inference for the nightly job: one class that runs a released model, and a stream that keeps it fed.

Photos are read and decoded in threads while the network works on the batch before; results come back in order,
whatever batches they travelled in.
"""

import hashlib
import os
import platform
import tempfile
import threading
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
from torch.fx.experimental.optimization import fuse

from model import calibration, checkpoint
from model.data import MAX_PHOTO_BYTES, Pixels, UnreadablePhotoError, decode_photo
from model.network import AgeNetwork, decode

__all__ = [
    "MAX_PHOTO_BYTES",
    "AgePredictor",
    "PhotoScore",
    "UnreadablePhotoError",
    "prepare",
    "score_photos",
    "shared",
    "version",
]

version = checkpoint.version
Precision = Literal["auto", "float32", "bfloat16", "float16"]
"""`auto` is bfloat16, but float32 on a CPU without instructions for it; `float16` is for CUDA only."""


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
    bfloat16 where the processor has instructions for it; a photo's age is the same within 0.1 year.

    Attributes:
        version: model version, as `checkpoint.version`.
        image_size: side of the pixels it takes.
        calibration: of the folder; None where it has none.
        batch_size: the largest batch it is given; on CUDA every batch is padded to it, as each new shape would
            be compiled anew.
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
        self.calibration = calibration.load(stored.read_text(encoding="utf-8")) if is_calibrated else None
        package = _package_path(folder, self.version)
        self._forward: Callable[[Tensor], Tensor]
        if self.device.type == "cuda":
            dtype = torch.bfloat16 if precision == "auto" else getattr(torch, precision)
            self._forward = torch.compile(_folded(network, dtype).to(self.device), dynamic=False)
        elif precision == "float16":
            raise ValueError("precision is float16; a CPU takes auto, float32 or bfloat16")
        elif precision == "float32" or (precision == "auto" and not _cpu_has_bfloat16()):
            self._forward = _folded(network, torch.float32)
        elif package.is_file():
            self._forward = _load_package(package)
        else:
            self._forward = _folded(network, torch.bfloat16)

    def output(self, photos: Pixels) -> Tensor:
        """Return the network's output on the device, float32: (B, 101) logits, or (B, 1) years of a scalar head.

        Args:
            photos: uint8 (B, S, S, 3), B at most `batch_size`.
        """
        batch = torch.from_numpy(photos)
        # A package takes no batch of one: export treats 0 and 1 as constants.
        n_rows = self.batch_size if self.device.type == "cuda" else max(2, len(photos))
        if len(photos) < n_rows:
            padding = torch.zeros(n_rows - len(photos), *batch.shape[1:], dtype=torch.uint8)
            batch = torch.cat([batch, padding])
        if self.device.type == "cuda":
            batch = batch.pin_memory().to(self.device, non_blocking=True)
        with torch.inference_mode():
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


def prepare(folder: Path) -> str:
    """Compile the network for this machine's processor once, and say what scoring on it will run.

    The package (ahead-of-time Inductor) is a cache beside the model folder, one for each model version, torch and
    kind of processor. Where it can't be built (no C++ compiler, folder not writable) scoring is correct but slower.

    Raises:
        InputError: the folder is no sound model folder.
    """
    model_version = version(folder)
    if torch.cuda.is_available():
        return "cuda, compiled at first use"
    if not _cpu_has_bfloat16():
        return "cpu, float32"
    package = _package_path(folder, model_version)
    if package.is_file():
        return "cpu, bfloat16, compiled"
    network = checkpoint.load(folder)
    size = network.config.image_size
    example = torch.zeros(8, size, size, 3, dtype=torch.uint8)
    try:
        package.parent.mkdir(exist_ok=True)
        with torch.no_grad(), tempfile.TemporaryDirectory(dir=package.parent) as draft:
            program = torch.export.export(
                _folded(network, torch.bfloat16),
                (example,),
                dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=1024)},),
            )
            built = torch._inductor.aoti_compile_and_package(  # noqa: SLF001
                program, package_path=f"{draft}/network.pt2", inductor_configs=_ONE_BUILD
            )
            Path(built).replace(package)
    except (OSError, RuntimeError) as error:
        return f"cpu, bfloat16, not compiled ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "cpu, bfloat16, compiled"


_ONE_BUILD = {"aot_inductor.precompile_headers": False, "cpp_cache_precompile_headers": False}
"""Precompiled headers pay from the second build on: for one they cost 10 s, and leave 290 MB in TMPDIR."""


def _folded(network: AgeNetwork, dtype: torch.dtype) -> Any:
    folded: Any = fuse(network)
    folded.backbone.to(dtype)
    return folded.to(memory_format=torch.channels_last)


def _cpu_has_bfloat16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def _package_path(folder: Path, model_version: str) -> Path:
    flags = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        flags += next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    cpu = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return folder.with_name(f"{folder.name}.compiled") / f"{model_version}-{torch.__version__}-{cpu}.pt2"


_loading = threading.Lock()


def _load_package(package: Path) -> Callable[[Tensor], Tensor]:
    # Without the check a batch in another layout gives wrong numbers and no error.
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
    # The loader unpacks 47 MB into TMPDIR and leaves it there; once it is mapped, the files can go.
    before = os.environ.get("TMPDIR")
    with _loading, tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        try:
            loaded: Callable[[Tensor], Tensor] = torch._inductor.aoti_load_package(str(package))  # noqa: SLF001
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
    return loaded
