"""Train the age model on a labelled set and write a complete model folder.

Progress is saved after every epoch in `OUT.training/`. The same command resumes from there, and gives the same
weights as a run that was not interrupted, on the same machine with the same number of threads; on a GPU, sums have no
fixed order, so the weights are not the same but equally good.
"""

import argparse
import hashlib
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from tqdm import tqdm

from model import precision
from model.cli import InputError, run
from model.config import NetworkConfig
from model.network import AgeNetwork, pretrained_backbone
from model.photos.data import HELD_OUT_SHARE, LabelledPhotos, read_labels
from model.predictor import AgePredictor, network_output
from model.release import checkpoint, contents
from model.training.epoch import held_out_mae, train_one_epoch
from model.training.progress import Progress, Stateful, exclusive
from model.training.recipe import PRESETS, Recipe

_PROGRESS_BAR = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.train`."""

    data: Path
    """Labelled set: a folder with labels.csv (file_name,real_age) and final_files/."""
    out: Path
    """Model folder to write."""
    pretrained: str = "auto"
    """Initial weights of the backbone: auto (ImageNet through torchvision, or random if it can't be downloaded), none
    (random), or a file with a ResNet-50 state dict."""
    held_out_share: float = HELD_OUT_SHARE
    """Share of the photos that are held out for calibration and evaluation."""
    seed: int = 0
    """Seed of the random weights, the order of photos and the augmentation."""
    recipe: tyro.conf.OmitArgPrefixes[Recipe] = field(default_factory=lambda: PRESETS[Recipe.preset])

    def __post_init__(self) -> None:
        if not 0.01 <= self.held_out_share <= 0.5:
            raise InputError(f"held_out_share is {self.held_out_share}; it must be between 0.01 and 0.5")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be between 0 and {2**32 - 1}")


def preset_settings(arguments: Sequence[str]) -> Settings:
    """Return the settings that a command line starts from: all values of its `--preset`, nothing for data and out."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--preset", nargs="?")
    preset = parser.parse_known_args(arguments)[0].preset
    # tyro reports a preset that does not exist.
    recipe = PRESETS.get(preset, PRESETS[Recipe.preset])
    return Settings(data=tyro.MISSING, out=tyro.MISSING, recipe=recipe)


def train(settings: Settings, training: LabelledPhotos, held_out: LabelledPhotos) -> tuple[AgeNetwork, dict[str, Any]]:
    """Train; returns the network and the facts for `model.json`."""
    recipe = settings.recipe
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone, pretrained = pretrained_backbone(settings.pretrained)
    network = AgeNetwork(NetworkConfig(head=recipe.head, image_size=recipe.image_size), backbone)
    network.init_output_bias(training.ages)
    network.to(device).to(memory_format=torch.channels_last)
    n_steps = len(training.ages) // recipe.batch_size * recipe.epochs
    if n_steps == 0:
        raise InputError(
            f"batch_size is {recipe.batch_size}; it must not exceed the {len(training.ages)} training photos"
        )
    optimizer = torch.optim.AdamW(_parameter_groups(network, recipe), lr=recipe.learning_rate, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=n_steps, pct_start=0.15)
    parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    # Paths are left out: they do not change the weights, and they are private.
    facts = {
        "pretrained": pretrained,
        "precision": precision.name(precision.native_dtype(device)),
        "held_out_share": settings.held_out_share,
        "seed": settings.seed,
        **asdict(recipe),
    }
    photos_digest = hashlib.sha256("".join(training.digests).encode()).hexdigest()[:16]
    progress = Progress(
        folder=progress_folder(settings.out),
        run={**facts, "training_fingerprint": training.fingerprint, "training_photos": photos_digest},
    )
    history = progress.load(parts, device)
    ages, held_out_ages = torch.from_numpy(training.ages).to(device), torch.from_numpy(held_out.ages)
    started = time.monotonic()
    photos = torch.from_numpy(training.pixels(recipe.image_size)).to(device)
    held_out_photos = held_out.pixels(recipe.image_size)
    decode_seconds = time.monotonic() - started
    n_steps_done = n_steps * len(history) // recipe.epochs
    with tqdm(total=n_steps, initial=n_steps_done, bar_format=_PROGRESS_BAR) as bar:
        for epoch in range(len(history), recipe.epochs):
            started = time.monotonic()
            figures = train_one_epoch(
                network,
                photos,
                ages,
                epoch=epoch,
                optimizer=optimizer,
                schedule=schedule,
                recipe=recipe,
                seed=settings.seed,
                bar=bar,
            )
            train_seconds = time.monotonic() - started
            figures["images_per_second"] = figures["n_photos"] / train_seconds
            figures["held_out_mae_years"] = held_out_mae(network, held_out_photos, held_out_ages, recipe.batch_size)
            figures["seconds"] = time.monotonic() - started
            if not math.isfinite(figures["loss"] + figures["held_out_mae_years"]):
                raise InputError(
                    f"the loss is not finite in epoch {epoch + 1}; learning_rate {recipe.learning_rate} is too high"
                )
            history.append({name: round(value, 4) for name, value in figures.items()})
            bar.write(f"epoch {epoch + 1}: {history[-1]}")
            progress.save(parts, history)
    peak = torch.cuda.max_memory_allocated() / 2**30 if device.type == "cuda" else None
    return network, {
        "training": {
            **facts,
            "device": device.type,
            "torch": torch.__version__,
            "peak_memory_gib": peak,
            "decode_seconds": round(decode_seconds, 1),
        },
        "history": history,
        "data": {
            "name": training.folder.resolve().name,
            "terms": training.terms(),
            "n_training": len(training.file_names),
            "n_held_out": len(held_out.file_names),
            "median_age_years": float(np.median(training.ages)),
            "training_fingerprint": training.fingerprint,
            "held_out_fingerprint": held_out.fingerprint,
        },
    }


def _parameter_groups(network: AgeNetwork, recipe: Recipe) -> list[dict[str, Any]]:
    """Return the parameters by weight decay: decay regularises weights, but would only bias offsets and scales."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    offsets_and_scales = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    return [
        {"params": weights, "weight_decay": recipe.weight_decay},
        {"params": offsets_and_scales, "weight_decay": 0.0},
    ]


def progress_folder(out: Path) -> Path:
    """Return the folder that holds the progress of a run until its model folder is written."""
    return out.with_name(f"{out.name}.training")


def main(settings: Settings) -> None:
    """Read the labelled set, train, calibrate, evaluate, write the model folder, remove the saved progress."""
    checkpoint.check_replaceable(settings.out)
    labelled = read_labels(settings.data)
    training, held_out = labelled.split(settings.held_out_share, labelled.groups())
    if not training.file_names or len(held_out.file_names) < 2:
        raise InputError(f"{settings.data} has too few photos to hold out {settings.held_out_share:.0%} of them")
    progress = progress_folder(settings.out)
    with exclusive(progress):
        network, facts = train(settings, training, held_out)
        checkpoint.save(progress / "model", network, facts)
        # By the class that scores, so that the figures hold for scoring.
        output = network_output(AgePredictor(progress / "model"), held_out)
        facts, files = contents.complete(output, training, held_out, facts)
        model_version = checkpoint.save(settings.out, network, facts, files)
    metrics = facts["metrics"]
    print(
        f"{settings.out}: version {model_version}, held-out MAE {metrics['mae_years']:.2f} years "
        f"({metrics['mae_low']:.2f} to {metrics['mae_high']:.2f}, n {metrics['n']}), "
        f"constant guess {metrics['constant_mae_years']:.2f}; read {settings.out / contents.CARD} before use"
    )


if __name__ == "__main__":
    run(main, Settings, default=preset_settings(sys.argv[1:]))
