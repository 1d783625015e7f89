"""One epoch of training, and what the network is worth after it."""

import time
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from model import precision
from model.network import AgeNetwork, decode, loss
from model.photos.augment import augment
from model.photos.data import Pixels
from model.training.recipe import Recipe

_STEPS_SHOWN = 10


class _Clock:
    """Time that goes into taking photos from memory and varying them, which training waits for."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._marks: list[Any] = []

    def mark(self) -> None:
        """To be called before photos are prepared and after, in turn."""
        if self._cuda:
            event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            event.record()
            self._marks.append(event)
        else:
            self._marks.append(time.perf_counter())

    def seconds(self) -> float:
        """Return the time between the pairs of marks; waits for the device."""
        pairs = zip(self._marks[::2], self._marks[1::2], strict=True)
        if self._cuda:
            torch.cuda.synchronize()
            return float(sum(before.elapsed_time(after) for before, after in pairs)) / 1000
        return float(sum(after - before for before, after in pairs))


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
    """Train on every photo once but what fills no batch; all randomness comes from the seed and the epoch.

    Args:
        network: on its device.
        photos: uint8 (N, S, S, 3), on the network's device.
        ages: (N,) labels, there too.
        epoch: counted from 0.
        optimizer: as `train` makes it.
        schedule: one step for each batch.
        recipe: of the run.
        seed: of the run.
        bar: advanced by one a step; shows loss and MAE of the epoch so far.

    Returns:
        Means of loss and absolute error (of varied photos, as the network was at each step), `n_photos` learnt from,
        and `prepare_seconds`, in which photos were varied.
    """
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    order = torch.randperm(len(ages), generator=generator)
    # A last batch of one photo has no batch statistics: leftovers are dropped, others each epoch.
    n_batches = len(order) // recipe.batch_size
    batches = order[: n_batches * recipe.batch_size].view(n_batches, recipe.batch_size).to(photos.device)
    network.train()
    sums = torch.zeros(2, device=photos.device)
    clock = _Clock(photos.device)
    autocast = precision.autocast(photos.device)
    for step, rows in enumerate(batches, start=1):
        clock.mark()
        batch = augment(photos[rows], generator, recipe.variation, recipe.erased_share)
        clock.mark()
        with autocast:
            output = network(batch)
        step_loss = loss(output, ages[rows], label_sigma_years=recipe.label_sigma_years)
        optimizer.zero_grad(set_to_none=True)
        step_loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            sums += torch.stack([step_loss, (decode(output).age_years - ages[rows]).abs().mean()])
        # Reading a figure waits for the device, so the bar is not told of each step.
        if step % _STEPS_SHOWN == 0 or step == n_batches:
            mean_loss, mae = (sums / step).tolist()
            bar.set_postfix(epoch=f"{epoch + 1}/{recipe.epochs}", loss=f"{mean_loss:.2f}", mae=f"{mae:.2f}")
            bar.update((step - 1) % _STEPS_SHOWN + 1)
    mean_loss, mae = (sums / n_batches).tolist()
    return {
        "loss": mean_loss,
        "mae_years": mae,
        "n_photos": len(batches) * recipe.batch_size,
        "prepare_seconds": clock.seconds(),
    }


def held_out_mae(network: AgeNetwork, photos: Pixels, ages: Tensor, batch_size: int) -> float:
    """Return the mean absolute error, years, on photos (N, S, S, 3) as they are: for the eye, not for the card."""
    network.eval()
    device = next(network.parameters()).device
    found = []
    with torch.inference_mode(), precision.autocast(device):
        for start in range(0, len(photos), batch_size):
            batch = torch.from_numpy(photos[start : start + batch_size]).to(device)
            found.append(decode(network(batch)).age_years.cpu())
    return float((torch.cat(found) - ages).abs().mean())
