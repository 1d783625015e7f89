"""Judge a model folder on a labelled set: error in years, beside the constant guess that any model must beat."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from tqdm import tqdm

from model import checkpoint
from model.cli import InputError, run
from model.data import Pixels, read_labels
from model.network import decode

Ages = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Errors of predicted ages, years; the names are those in `model.json`."""

    n: int
    mae_years: float
    median_error_years: float
    bias_years: float
    """Mean of predicted minus true: positive where the model makes people older."""
    within_5_years: float
    """Share of photos."""
    constant_mae_years: float
    """MAE of answering the median age of the training part for everybody."""


def measure(predicted: Ages, true: npt.NDArray[np.int64], *, constant: float) -> Metrics:
    """Compare predicted ages (N,) with true ages (N,), and a constant guess with them."""
    error = predicted - true
    size = np.abs(error)
    return Metrics(
        n=len(true),
        mae_years=round(float(size.mean()), 4),
        median_error_years=round(float(np.median(size)), 4),
        bias_years=round(float(error.mean()), 4),
        within_5_years=round(float((size <= 5).mean()), 4),
        constant_mae_years=round(float(np.abs(constant - true).mean()), 4),
    )


def predict_ages(network: nn.Module, photos: Pixels, batch_size: int = 64) -> Ages:
    """Predict ages (N,) in years of decoded photos (N, S, S, 3), in the precision that training uses."""
    network.eval()
    device = next(network.parameters()).device
    ages = []
    with torch.inference_mode(), torch.autocast(device.type, torch.bfloat16):
        for start in tqdm(range(0, len(photos), batch_size), "measure", unit="batch", delay=5, leave=False):
            batch = torch.from_numpy(photos[start : start + batch_size]).to(device)
            ages.append(decode(network(batch)).age_years.cpu())
    return torch.cat(ages).double().numpy()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.evaluate`."""

    model: Path
    """Model folder."""
    data: Path
    """Labelled set: a folder with labels.csv and final_files/."""
    part: Literal["held-out", "all"] = "held-out"
    """Which photos: the part that training on this set keeps apart, or all (for a set the model has not seen)."""


def main(settings: Settings) -> None:
    """Print the metrics as JSON."""
    network = checkpoint.load(settings.model)
    card = checkpoint.read_card(settings.model)
    known = labelled = read_labels(settings.data)
    if settings.part == "held-out":
        known, labelled = labelled.split(card["training"]["held_out_share"])
    if not labelled.file_names or not known.file_names:
        raise InputError(f"part is held-out, but {settings.data} has too few photos to split; measure all of it")
    network.to("cuda" if torch.cuda.is_available() else "cpu").to(memory_format=torch.channels_last)
    predicted = predict_ages(network, labelled.pixels(network.config.image_size))
    metrics = measure(predicted, labelled.ages, constant=float(np.median(known.ages)))
    print(json.dumps({"model_version": checkpoint.version(settings.model), **asdict(metrics)}, indent=2))


if __name__ == "__main__":
    run(main, Settings)
