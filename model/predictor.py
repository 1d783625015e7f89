"""A released model on one device. Apart from `model.predict`, because it needs torch, which takes seconds to import."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from tqdm import tqdm

from model import compiled, precision
from model.evaluation import calibration
from model.network import decode
from model.photos.decoding import Pixels
from model.release import checkpoint

if TYPE_CHECKING:
    from model.photos.data import LabelledPhotos


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
            device: by default CUDA where there is a GPU, else CPU. A GPU with an index becomes torch's current one.
            dtype: by default `precision.native_dtype`, and on a CPU the compiled package if `prepare` built it. With
                a given type, a CPU runs the network uncompiled.
            batch_size: by default 256 on CUDA, 32 on a CPU.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        if self.device.type == "cuda" and self.device.index is not None:
            torch.cuda.set_device(self.device)  # `precision` asks the current GPU, which may be another kind
        self.version = checkpoint.version(folder)
        self.image_size = checkpoint.config(folder).image_size
        self.batch_size = batch_size or (256 if self.device.type == "cuda" else 32)
        curves = checkpoint.curves(folder)
        self.calibration = curves and calibration.Calibration.of(curves).to(self.device)
        native = precision.native_dtype(self.device)
        package = compiled.path(folder, self.version, native)
        self._forward: Callable[[Tensor], Tensor]
        self._min_rows = 1
        if dtype is None and self.device.type == "cpu" and package.is_file():
            self._forward = compiled.load(package)
            self._min_rows = compiled.MIN_BATCH
            return
        network = compiled.folded(checkpoint.load(folder), dtype or native)
        self._forward = network
        if self.device.type == "cuda":
            self._forward = self._compile_for_gpu(network.to(self.device))
            self._min_rows = self.batch_size

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


def network_output(predictor: AgePredictor, labelled: "LabelledPhotos") -> Tensor:
    """Return the network's output for every photo, on the CPU: (N, 101) logits or (N, 1) years."""
    photos = labelled.pixels(predictor.image_size)
    starts = range(0, len(photos), predictor.batch_size)
    progress = tqdm(starts, "evaluate", unit="batch", delay=5)
    return torch.cat([predictor.output(photos[start : start + predictor.batch_size]).cpu() for start in progress])
