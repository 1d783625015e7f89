"""One epoch of training, and the error on held-out photos after it."""

from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from model import precision
from model.network import AgeNetwork, decode, loss
from model.photos.augment import augment
from model.photos.decoding import Pixels
from model.training.recipe import Recipe

_STEPS_BETWEEN_UPDATES = 10
"""Reading a figure waits for the device, so the progress bar is not updated after each step."""


def train_one_epoch(  # noqa: PLR0913  a step needs them all, by name
    network: AgeNetwork,
    photos: Tensor,
    ages: Tensor,
    *,
    epoch: int,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    recipe: Recipe,
    seed: int,
    bar: "tqdm[Any]",
) -> dict[str, float]:
    """Train on every photo once, except those left over from the last full batch.

    All randomness comes from the seed and the epoch.

    Args:
        network: on its device.
        photos: uint8 (N, S, S, 3), on the network's device.
        ages: (N,) labels, on the same device.
        epoch: counted from 0.
        optimizer: of the network's parameters.
        schedule: advanced after each batch.
        recipe: of the run.
        seed: of the run.
        bar: advanced by one for each step; shows loss and MAE of the epoch so far.

    Returns:
        Means of loss and absolute error (of augmented photos, by the network as it was at each step), and `n_photos`
        trained on.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(ages), generator=generator)
    # A last batch of one photo has no batch statistics. The photos that are dropped differ between epochs.
    n_batches = len(order) // recipe.batch_size
    batches = order[: n_batches * recipe.batch_size].view(n_batches, recipe.batch_size).to(photos.device)
    network.train()
    sums = torch.zeros(2, device=photos.device)
    autocast = precision.autocast(photos.device)
    for step, rows in enumerate(batches, start=1):
        batch = augment(photos[rows], generator, recipe.variation, recipe.erased_share)
        with autocast:
            output = network(batch)
        step_loss = loss(output, ages[rows], label_sigma_years=recipe.label_sigma_years)
        optimizer.zero_grad(set_to_none=True)
        step_loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            sums += torch.stack([step_loss, (decode(output).age_years - ages[rows]).abs().mean()])
        if step % _STEPS_BETWEEN_UPDATES == 0 or step == n_batches:
            mean_loss, mae = (sums / step).tolist()
            bar.set_postfix(epoch=f"{epoch + 1}/{recipe.epochs}", loss=f"{mean_loss:.2f}", mae=f"{mae:.2f}")
            bar.update((step - 1) % _STEPS_BETWEEN_UPDATES + 1)
    mean_loss, mae = (sums / n_batches).tolist()
    return {"loss": mean_loss, "mae_years": mae, "n_photos": n_batches * recipe.batch_size}


def held_out_mae(network: AgeNetwork, photos: Pixels, ages: Tensor, batch_size: int) -> float:
    """Return the mean absolute error, years, on photos (N, S, S, 3) without augmentation.

    It shows progress. The error that `model.json` states is that of the calibrated `AgePredictor`.
    """
    network.eval()
    device = next(network.parameters()).device
    estimates = []
    with torch.inference_mode(), precision.autocast(device):
        for start in range(0, len(photos), batch_size):
            batch = torch.from_numpy(photos[start : start + batch_size]).to(device)
            estimates.append(decode(network(batch)).age_years.cpu())
    return float((torch.cat(estimates) - ages).abs().mean())
