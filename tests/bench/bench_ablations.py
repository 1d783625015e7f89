"""Value of each choice of the training recipe: held-out error with and without it, over several seeds.

Run: `make bench-ablations DATA=LABELLED`, or this file with flags. Each run is a short training of the default recipe
with one change. Each result is saved, so that an interrupted benchmark resumes. The table contains differences from the
default at the same seed, because seeds differ by more than many choices do. Choices of decoding need no run of their
own: they are evaluated on the runs of the default.
"""

import argparse
import hashlib
import inspect
import json
import shutil
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional
from torch.optim.optimizer import register_optimizer_step_post_hook
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from model import network, precision, train
from model.evaluation import calibration
from model.network import N_AGES, decode, loss, quantile
from model.photos import augment
from model.photos.data import HELD_OUT_SHARE, LabelledPhotos, read_labels
from model.training import epoch
from model.training.recipe import PRESETS, Recipe

Patch = Callable[[ExitStack, np.ndarray], None]


def expected_age_term(weight: float) -> Patch:
    """Cross-entropy plus the absolute error of the expected age (DLDL-v2, Gao et al., IJCAI 2018)."""

    def both(output: Tensor, ages: Tensor, *, label_sigma_years: float) -> Tensor:
        expected = output.softmax(dim=1) @ torch.arange(N_AGES, device=output.device, dtype=torch.float32)
        return loss(output, ages, label_sigma_years=label_sigma_years) + weight * functional.l1_loss(
            expected, ages.float()
        )

    return lambda stack, _: stack.enter_context(mock.patch.object(epoch, "loss", both))


def balanced(exponent: float) -> Patch:
    """Photos weighted by the smoothed rarity of their age (label distribution smoothing, Yang et al., ICML 2021)."""

    def patch(stack: ExitStack, ages: np.ndarray) -> None:
        near = np.exp(-0.5 * (np.subtract.outer(np.arange(N_AGES), np.arange(N_AGES)) / 2) ** 2)
        weight = 1 / np.maximum(near @ np.bincount(ages, minlength=N_AGES), 1) ** exponent
        weights = torch.tensor(weight / weight[ages].mean(), dtype=torch.float32)

        def weighted(output: Tensor, batch: Tensor, *, label_sigma_years: float) -> Tensor:
            bins = torch.arange(N_AGES, device=output.device)
            blurred = torch.softmax(-((bins - batch[:, None]) ** 2) / (2 * label_sigma_years**2), dim=1)
            each = functional.cross_entropy(output, blurred, reduction="none")
            return (each * weights.to(output.device)[batch]).mean()

        stack.enter_context(mock.patch.object(epoch, "loss", weighted))

    return patch


def wider_with_age(stack: ExitStack, _: np.ndarray) -> None:
    """Labels blurred by 1 year at birth and 4 at 75: a face tells a child's age more exactly."""

    def widening(output: Tensor, batch: Tensor, *, label_sigma_years: float) -> Tensor:
        bins, sigma = torch.arange(N_AGES, device=output.device), label_sigma_years * (0.5 + 0.02 * batch[:, None])
        blurred = torch.softmax(-((bins - batch[:, None]) ** 2) / (2 * sigma**2), dim=1)
        return functional.cross_entropy(output, blurred)

    stack.enter_context(mock.patch.object(epoch, "loss", widening))


def random_residuals(stack: ExitStack, _: np.ndarray) -> None:
    stack.enter_context(mock.patch.object(network, "_random_backbone", network.ResNet))


def head_without_ages(stack: ExitStack, _: np.ndarray) -> None:
    stack.enter_context(mock.patch.object(network.AgeNetwork, "init_output_bias"))


DEFAULT = PRESETS["quick"]

VARIANTS: dict[str, tuple[dict[str, object], Patch | None]] = {
    "default": ({}, None),
    "scalar head": ({"head": "scalar"}, None),
    "plus expected-age error, weight 1": ({}, expected_age_term(1.0)),
    "photos only mirrored, none erased": ({"variation": 0.0, "erased_share": 0.0}, None),
    "no photos erased": ({"erased_share": 0.0}, None),
    "photos varied twice as far": ({"variation": DEFAULT.variation * 2}, None),
    "label sigma growing with age": ({}, wider_with_age),
    "label sigma 1 year": ({"label_sigma_years": 1.0}, None),
    "label sigma 4 years": ({"label_sigma_years": 4.0}, None),
    "learning rate x 2": ({"learning_rate": DEFAULT.learning_rate * 2}, None),
    "learning rate x 0.5": ({"learning_rate": DEFAULT.learning_rate / 2}, None),
    "rare ages weighted, exponent 0.5": ({}, balanced(0.5)),
    "residual branches not started at zero": ({}, random_residuals),
    "output bias not started at the shares of the ages": ({}, head_without_ages),
    "weight decay 0.2": ({"weight_decay": 0.2}, None),
}


def readings(trained: network.AgeNetwork, held_out: LabelledPhotos, image_size: int) -> dict[str, float]:
    """Return the MAE, years, of the held-out photos by each way to decode the same network."""
    photos = torch.from_numpy(held_out.pixels(image_size))
    device = next(trained.parameters()).device

    def output(read: Callable[[Tensor], Tensor]) -> Tensor:
        trained.eval()
        with torch.inference_mode(), precision.autocast(device):
            return torch.cat([read(batch.to(device)).cpu() for batch in photos.split(64)])

    def mae(ages: Tensor) -> float:
        return float(np.abs(ages.double().numpy() - held_out.ages).mean())

    averaged, single_view = output(trained), output(trained.single_view)
    mae_by_reading = {
        "": mae(decode(averaged).age_years),
        "not averaged with the mirror image": mae(decode(single_view).age_years),
    }
    if averaged.shape[1] == 1:
        return mae_by_reading
    mass = averaged.softmax(dim=1)
    return {
        **mae_by_reading,
        "read by the mean": mae(mass @ torch.arange(N_AGES, dtype=torch.float32)),
        "read by the mode": mae(mass.argmax(dim=1)),
        "calibrated": mae(quantile(calibration.cross_fitted(mass, held_out.ages), 0.5)),
    }


def short(flags: argparse.Namespace) -> Recipe:
    """Return the default recipe at the size and length that can be repeated often."""
    return replace(DEFAULT, image_size=flags.image_size, epochs=flags.epochs)


def run(
    name: str, seed: int, flags: argparse.Namespace, parts: tuple[LabelledPhotos, LabelledPhotos]
) -> dict[str, float]:
    """Train one variant; returns its errors by reading."""
    changed, patch = VARIANTS[name]
    recipe = replace(short(flags), **changed)
    settings = train.Settings(data=flags.data, out=flags.out / "model", pretrained="none", seed=seed, recipe=recipe)
    averages: list[AveragedModel] = []

    def average(*_: object) -> None:
        averages[0].update_parameters(being_trained[0])

    being_trained: list[network.AgeNetwork] = []
    one_epoch = train.train_one_epoch

    def watched(model: network.AgeNetwork, *arguments: object, **others: object) -> dict[str, float]:
        if not averages:
            being_trained.append(model)
            averages.append(AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True))
        return one_epoch(model, *arguments, **others)

    with ExitStack() as stack:
        if patch:
            patch(stack, parts[0].ages)
        if name == "default":
            stack.enter_context(mock.patch.object(train, "train_one_epoch", watched))
            stack.callback(register_optimizer_step_post_hook(average).remove)
        kept = train.progress_folder(settings.out)  # a patched run must not resume another one
        shutil.rmtree(kept, ignore_errors=True)
        kept.mkdir()
        trained, _ = train.train(settings, *parts)
        shutil.rmtree(kept)
    mae_by_reading = readings(trained, parts[1], flags.image_size)
    if averages:
        mae_by_reading["weights averaged, decay 0.99"] = readings(averages[0].module, parts[1], flags.image_size)[""]
    return mae_by_reading


def table(results: list[dict[str, object]]) -> pd.DataFrame:
    """One row per choice: mean MAE, and mean, least and most of the differences from the default at the same seed."""
    frame = pd.DataFrame(
        [
            {"choice": f"{row['name']}{', ' if reading else ''}{reading}", "seed": row["seed"], "mae": error}
            for row in results
            for reading, error in row["mae_years"].items()
            if row["name"] == "default" or not reading
        ]
    )
    base = frame[frame["choice"] == "default"].set_index("seed")["mae"]
    frame["difference"] = frame["mae"] - frame["seed"].map(base)
    grouped = frame.groupby("choice", sort=False)
    rows = (
        grouped["mae"].agg(["count", "mean"]).join(grouped["difference"].agg(["mean", "min", "max"]), rsuffix="_diff")
    )
    return rows.reset_index().set_axis(["choice", "seeds", "MAE", "difference", "least", "most"], axis=1)


def main() -> None:
    """Run the missing runs, and print the table of all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="labelled set: labels.csv and final_files/")
    parser.add_argument("--out", type=Path, required=True, help="folder for results.jsonl")
    parser.add_argument("--image-size", type=int, default=64, help="pixels")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument(
        "--only", nargs="+", choices=list(VARIANTS), default=list(VARIANTS), help="differences need `default` too"
    )
    flags = parser.parse_args()
    flags.out.mkdir(parents=True, exist_ok=True)
    path = flags.out / "results.jsonl"
    labelled = read_labels(flags.data)
    # The photos that a real training holds out are not used: they must not choose the recipe that they then evaluate.
    rest, _ = labelled.split(HELD_OUT_SHARE, labelled.groups())
    parts = rest.split(0.2, rest.groups())
    # Results of another default, or of other code, can't be compared with these.
    code = "".join(
        inspect.getsource(part) for part in (augment, calibration, epoch, network, train, sys.modules[__name__])
    )
    size = {
        "data": parts[0].fingerprint,
        "default": asdict(short(flags)),
        "code": hashlib.sha256(code.encode()).hexdigest()[:16],
    }

    def kept() -> list[dict[str, object]]:
        rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
        return [row for row in rows if row["size"] == size]

    for seed in flags.seeds:
        for name in flags.only:
            if not any((row["name"], row["seed"]) == (name, seed) for row in kept()):
                mae_by_reading = run(name, seed, flags, parts)
                with path.open("a", encoding="utf-8") as file:
                    file.write(
                        json.dumps({"name": name, "seed": seed, "size": size, "mae_years": mae_by_reading}) + "\n"
                    )
    print(
        f"{flags.image_size} px, {flags.epochs} epochs, {len(parts[0].ages)} photos; evaluated on {len(parts[1].ages)}"
    )
    print(table(kept()).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    main()
