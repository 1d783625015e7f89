"""Train the age model on a labelled set and write a model folder that is complete in itself.

Progress is kept after every epoch in `OUT.training/`; the same command started again goes on from there and
ends with the same weights as an uninterrupted run on the same machine with as many threads (on a GPU, whose sums have
no fixed order, with weights as good).
"""

import hashlib
import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from model import precision
from model.cli import InputError, run
from model.network import AgeNetwork, Head, NetworkConfig, pretrained_backbone
from model.photos.data import HELD_OUT_SHARE, LabelledPhotos, read_labels
from model.predict import AgePredictor, network_output
from model.release import checkpoint, contents as release
from model.training.epoch import held_out_mae, train_one_epoch
from model.training.progress import Progress, Stateful, exclusive
from model.training.recipe import PRESETS, Preset, Recipe


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.train`. What is not given is the preset's."""

    data: Path
    """Labelled set: a folder with labels.csv (file_name,real_age) and final_files/."""
    out: Path
    """Model folder to write."""
    preset: Preset = "quick"
    """quick: about an hour on 2 cores. full: for a GPU. original: the first study's network, the baseline."""
    pretrained: str = "auto"
    """Backbone to begin with: auto (ImageNet through torchvision where it can be reached, else random), none, or
    a file with a ResNet-50 state dict."""
    head: Head | None = None
    """What the network returns: a distribution over ages 0-100, or one number of years."""
    image_size: int | None = None
    """Side of the input, pixels."""
    epochs: int | None = None
    """Passes over the training part."""
    batch_size: int | None = None
    """Photos a step."""
    learning_rate: float | None = None
    """Peak of the one-cycle schedule."""
    held_out_share: float = HELD_OUT_SHARE
    """Share of the photos kept for calibrating and judging, never trained on."""
    seed: int = 0
    """Of the random weights, the order of photos and the augmentation."""

    def __post_init__(self) -> None:
        if not 0.01 <= self.held_out_share <= 0.5:
            raise InputError(f"held_out_share is {self.held_out_share}; it must be between 0.01 and 0.5")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed is {self.seed}; it must be between 0 and {2**32 - 1}")
        _ = self.recipe  # checks what was given

    @property
    def recipe(self) -> Recipe:
        """The preset's recipe with what was given instead."""
        names = ("head", "image_size", "epochs", "batch_size", "learning_rate")
        given = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return replace(PRESETS[self.preset], **given)


def train(settings: Settings, training: LabelledPhotos, held_out: LabelledPhotos) -> tuple[AgeNetwork, dict[str, Any]]:
    """Train; returns the network and the facts for `model.json`."""
    recipe = settings.recipe
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone, pretrained = pretrained_backbone(settings.pretrained)
    network = AgeNetwork(NetworkConfig(head=recipe.head, image_size=recipe.image_size), backbone)
    network.begin_at(training.ages)
    network.to(device).to(memory_format=torch.channels_last)
    n_steps = len(training.ages) // recipe.batch_size * recipe.epochs
    if n_steps == 0:
        raise InputError(
            f"batch_size is {recipe.batch_size}; it must not exceed the {len(training.ages)} training photos"
        )
    # Decay holds back what multiplies; an offset or a scale of a normalised channel it would only bias.
    several = [weight for weight in network.parameters() if weight.ndim > 1]
    single = [weight for weight in network.parameters() if weight.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": several, "weight_decay": recipe.weight_decay}, {"params": single, "weight_decay": 0.0}],
        lr=recipe.learning_rate,
        fused=True,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, total_steps=n_steps, pct_start=0.15)
    parts: dict[str, Stateful] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    facts = {**_plain(settings, pretrained), "precision": precision.name(precision.native_dtype(device))}
    photos_digest = hashlib.sha256("".join(training.digests).encode()).hexdigest()[:16]
    progress = Progress(
        folder=_progress_folder(settings.out),
        run={**facts, "training_fingerprint": training.fingerprint, "training_photos": photos_digest},
    )
    history = progress.load(parts, device)
    ages, held_out_ages = torch.from_numpy(training.ages).to(device), torch.from_numpy(held_out.ages)
    began = time.monotonic()
    photos, judged = torch.from_numpy(training.pixels(recipe.image_size)).to(device), held_out.pixels(recipe.image_size)
    decode_seconds = time.monotonic() - began
    with tqdm(total=n_steps, initial=n_steps * len(history) // recipe.epochs, bar_format=_BAR) as bar:
        for epoch in range(len(history), recipe.epochs):
            began = time.monotonic()
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
            trained = time.monotonic()
            figures["images_per_second"] = figures["n_photos"] / (trained - began)
            figures["data_share"] = figures["prepare_seconds"] / (trained - began)
            figures["held_out_mae_years"] = held_out_mae(network, judged, held_out_ages, recipe.batch_size)
            figures["seconds"] = time.monotonic() - began
            if not math.isfinite(figures["loss"] + figures["held_out_mae_years"]):
                raise InputError(
                    f"the loss is no number in epoch {epoch + 1}; learning_rate {recipe.learning_rate} is too high"
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


_BAR = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"


def _plain(settings: Settings, pretrained: str) -> dict[str, Any]:
    """What shapes the weights. Where files lie does not, and is nobody's business."""
    chosen = {"preset": settings.preset, "held_out_share": settings.held_out_share, "seed": settings.seed}
    return {"pretrained": pretrained, **chosen, **asdict(settings.recipe)}


def _progress_folder(out: Path) -> Path:
    return out.with_name(f"{out.name}.training")


def main(settings: Settings) -> None:
    """Read the labelled set, train, calibrate, judge, write the model folder, remove the kept progress."""
    checkpoint.check_replaceable(settings.out)
    labelled = read_labels(settings.data)
    training, held_out = labelled.split(settings.held_out_share, labelled.groups())
    if not training.file_names or len(held_out.file_names) < 2:
        raise InputError(f"{settings.data} has too few photos to keep {settings.held_out_share:.0%} apart")
    kept = _progress_folder(settings.out)
    with exclusive(kept):
        network, facts = train(settings, training, held_out)
        checkpoint.save(kept / "model", network, facts)
        output = network_output(AgePredictor(kept / "model"), held_out)  # as it will run, not as it was trained
        facts, files = release.complete(output, training, held_out, facts)
        model_version = checkpoint.save(settings.out, network, facts, files)
    metrics = facts["metrics"]
    print(
        f"{settings.out}: version {model_version}, held-out MAE {metrics['mae_years']:.2f} years "
        f"({metrics['mae_low']:.2f} to {metrics['mae_high']:.2f}, n {metrics['n']}), "
        f"constant guess {metrics['constant_mae_years']:.2f}; read {settings.out / release.CARD} before use"
    )


if __name__ == "__main__":
    run(main, Settings)
