"""Train the age model on a labelled set and write a model folder.

Progress is kept after every epoch in `OUT.training/`; the same command started again goes on from there and
ends with the same weights as an uninterrupted run on the same machine.
"""

import math
import shutil
import time
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import ResNet50_Weights, resnet50
from tqdm import tqdm

from model import checkpoint
from model.cli import InputError, run
from model.data import LabelledPhotos, Pixels, read_labels
from model.evaluate import measure, predict_ages
from model.network import AgeNetwork, Head, NetworkConfig, loss


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Flags of `python -m model.train`."""

    data: Path
    """Labelled set: a folder with labels.csv (file_name,real_age) and final_files/."""
    out: Path
    """Model folder to write."""
    head: Head = "distribution"
    """What the network returns: a distribution over ages 0-100, or one number of years."""
    pretrained: str = "auto"
    """Backbone to begin with: auto (ImageNet through torchvision where it can be reached, else random), none, or
    a file with a ResNet-50 state dict."""
    image_size: int = 112
    """Side of the input, pixels."""
    epochs: int = 20
    """Passes over the training part."""
    batch_size: int = 64
    """Photos a step."""
    learning_rate: float = 1e-3
    """Peak of the one-cycle schedule."""
    weight_decay: float = 0.05
    """Decoupled weight decay of AdamW."""
    label_sigma_years: float = 2.0
    """Width of the normal kernel that blurs a label over neighbouring ages, years."""
    held_out_share: float = 0.1
    """Share of the photos kept for measuring, never trained on."""
    seed: int = 0
    """Of the random weights, the order of photos and the augmentation."""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, 1000),
            ("batch_size", 2, 4096),
            ("learning_rate", 1e-7, 1.0),
            ("weight_decay", 0.0, 1.0),
            ("label_sigma_years", 0.1, 20.0),
            ("held_out_share", 0.01, 0.5),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise InputError(f"{name} is {value}; it must be between {low} and {high}")


def pretrained_backbone(source: str) -> tuple[nn.Module, str]:
    """Return a ResNet-50 and a word on where its weights are from, for `model.json`.

    Raises:
        InputError: `source` is a path at which there are no ResNet-50 weights.
    """
    if source == "auto":
        try:
            return resnet50(weights=ResNet50_Weights.IMAGENET1K_V2), "ImageNet (torchvision IMAGENET1K_V2)"
        except (OSError, RuntimeError, HTTPException) as error:
            print(f"ImageNet weights can't be reached ({error}); beginning with random ones")
            return resnet50(weights=None), "none: random weights, ImageNet weights could not be reached"
    if source == "none":
        return resnet50(weights=None), "none: random weights"
    try:
        state = torch.load(source, map_location="cpu", weights_only=True)
        backbone = resnet50(weights=None)
        backbone.load_state_dict(state)
    except (OSError, EOFError, UnpicklingError, RuntimeError, AttributeError, TypeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise InputError(
            f"pretrained is {source!r}; it must be auto, none or a file with ResNet-50 weights: {reason}"
        ) from None
    return backbone, f"file {Path(source).name}"


def augment(photos: Tensor, generator: torch.Generator) -> Tensor:
    """Vary uint8 photos (B, S, S, 3): mirrored, turned, shifted, scaled, brighter or darker, more or less contrast."""
    n = len(photos)

    def uniform(low: float, high: float) -> Tensor:
        return torch.empty(n).uniform_(low, high, generator=generator).to(photos.device)

    angle, scale = uniform(-10, 10) * math.pi / 180, uniform(0.85, 1.1)
    mirror = uniform(-1, 1).sign()
    across = torch.stack([mirror * angle.cos() * scale, -angle.sin() * scale, uniform(-0.08, 0.08)], dim=1)
    down = torch.stack([mirror * angle.sin() * scale, angle.cos() * scale, uniform(-0.08, 0.08)], dim=1)
    pixels = photos.permute(0, 3, 1, 2).float()
    grid = functional.affine_grid(torch.stack([across, down], dim=1), list(pixels.shape), align_corners=False)
    pixels = functional.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    mean = pixels.mean(dim=(1, 2, 3), keepdim=True)
    contrast, brightness = uniform(0.8, 1.25).view(n, 1, 1, 1), uniform(0.8, 1.25).view(n, 1, 1, 1)
    pixels = ((pixels - mean) * contrast + mean * brightness).clamp(0, 255)
    return pixels.round().to(torch.uint8).permute(0, 2, 3, 1)


def train_one_epoch(  # noqa: PLR0913  a step needs them all, by name
    network: AgeNetwork,
    photos: Pixels,
    ages: Tensor,
    *,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    settings: Settings,
) -> float:
    """Train on every photo once; returns the mean loss. All randomness comes from the seed and the epoch."""
    device = next(network.parameters()).device
    generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + epoch)
    order = torch.randperm(len(ages), generator=generator)
    # A last batch of one photo has no batch statistics: leftovers are dropped, others each epoch.
    n_batches = len(order) // settings.batch_size
    batches = order[: n_batches * settings.batch_size].view(n_batches, settings.batch_size)
    network.train()
    total = 0.0
    with tqdm(batches, f"epoch {epoch + 1}/{settings.epochs}", unit="batch", mininterval=1) as progress:
        for step, rows in enumerate(progress, start=1):
            batch = augment(torch.from_numpy(photos[rows.numpy()]).to(device), generator)
            with torch.autocast(device.type, torch.bfloat16):
                output = network(batch)
            batch_loss = loss(output, ages[rows].to(device), label_sigma_years=settings.label_sigma_years)
            optimizer.zero_grad(set_to_none=True)
            batch_loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            total += batch_loss.item()
            progress.set_postfix(loss=f"{total / step:.3f}", refresh=False)
    return total / len(batches)


def train(settings: Settings, training: LabelledPhotos, held_out: LabelledPhotos) -> tuple[AgeNetwork, dict[str, Any]]:
    """Train and measure; returns the network and the facts for `model.json`."""
    torch.manual_seed(settings.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    backbone, pretrained = pretrained_backbone(settings.pretrained)
    network = AgeNetwork(NetworkConfig(head=settings.head, image_size=settings.image_size), backbone)
    # The last layer begins at the middle of the training ages, so no epoch is spent finding it.
    if settings.head == "scalar":
        nn.init.constant_(network.backbone.fc.bias, float(np.median(training.ages)))
    network.to(device).to(memory_format=torch.channels_last)
    photos, held_out_photos = training.pixels(settings.image_size), held_out.pixels(settings.image_size)
    steps = len(photos) // settings.batch_size * settings.epochs
    if steps == 0:
        raise InputError(f"batch_size is {settings.batch_size}; it must not exceed the {len(photos)} training photos")
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps, pct_start=0.15)
    parts: dict[str, Any] = {"network": network, "optimizer": optimizer, "schedule": schedule}
    run_facts = {**_plain(settings), "training_fingerprint": training.fingerprint}
    state = _state_path(settings.out)
    seconds = 0.0
    metrics = None
    first_epoch = 0
    if state.is_file():
        saved = torch.load(state, map_location=device, weights_only=True)
        if saved["run"] != run_facts:
            changed = sorted(key for key in run_facts if saved["run"].get(key) != run_facts[key])
            raise InputError(
                f"{state.parent} was begun with other {', '.join(changed)}; go on with the same, or remove it"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        first_epoch, seconds = saved["epoch"] + 1, saved["seconds"]
    ages = torch.from_numpy(training.ages)
    for epoch in range(first_epoch, settings.epochs):
        began = time.monotonic()
        mean_loss = train_one_epoch(
            network, photos, ages, epoch=epoch, optimizer=optimizer, schedule=schedule, settings=settings
        )
        metrics = measure(predict_ages(network, held_out_photos), held_out.ages, constant=np.median(training.ages))
        print(f"epoch {epoch + 1}: loss {mean_loss:.3f}, held-out MAE {metrics.mae_years:.2f} years", flush=True)
        seconds += time.monotonic() - began
        _keep(state, {"run": run_facts, "epoch": epoch, "seconds": seconds}, parts)
    if metrics is None:  # every epoch was done by the run that was cut off
        metrics = measure(predict_ages(network, held_out_photos), held_out.ages, constant=np.median(training.ages))
    return network, {
        "pretrained": pretrained,
        "training": {**_plain(settings), "device": device.type, "seconds": round(seconds), "torch": torch.__version__},
        "data": {
            "n_training": len(training.file_names),
            "n_held_out": len(held_out.file_names),
            "training_fingerprint": training.fingerprint,
            "held_out_fingerprint": held_out.fingerprint,
        },
        "metrics": asdict(metrics),
    }


def _plain(settings: Settings) -> dict[str, Any]:
    """Settings that shape the weights. Where files lie does not, and is nobody's business."""
    return {name: value for name, value in asdict(settings).items() if name not in ("data", "out")}


def _state_path(out: Path) -> Path:
    return out.with_name(f"{out.name}.training") / "state.pt"


def _keep(path: Path, facts: dict[str, Any], parts: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(".draft")
    torch.save({**facts, **{name: part.state_dict() for name, part in parts.items()}}, draft)
    draft.replace(path)


def main(settings: Settings) -> None:
    """Read the labelled set, train, write the model folder, remove the kept progress."""
    training, held_out = read_labels(settings.data).split(settings.held_out_share)
    if not training.file_names or not held_out.file_names:
        raise InputError(f"{settings.data} has too few photos to keep {settings.held_out_share:.0%} apart")
    network, facts = train(settings, training, held_out)
    model_version = checkpoint.save(settings.out, network, facts)
    shutil.rmtree(_state_path(settings.out).parent, ignore_errors=True)
    print(f"{settings.out}: version {model_version}, {facts['metrics']}")


if __name__ == "__main__":
    run(main, Settings)
