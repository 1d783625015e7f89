"""The progress that a training run saves after each epoch, so that it can resume after an interruption."""

import fcntl
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, Protocol

import torch

from model.cli import InputError


class Stateful(Protocol):
    """Network, optimizer or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Restore the state."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The folder `OUT.training` of one training run."""

    folder: Path
    run: Mapping[str, Any]
    """Everything that decides the weights: settings, precision, and the fingerprint of the training photos."""

    def load(self, parts: Mapping[str, Stateful], device: torch.device) -> list[dict[str, float]]:
        """Restore the saved state into the parts.

        Returns:
            The figures of each completed epoch. None are completed where nothing was saved, or where the run was
            saved in another precision: epochs of two precisions are not mixed.

        Raises:
            InputError: a run with other settings or photos is saved there, or its state can't be read.
        """
        path = self.folder / "state.pt"
        if not path.is_file():
            return []
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path} can't be read ({reason}); remove {self.folder}") from None
        names = sorted(saved["run"].keys() | self.run.keys())
        changed = [name for name in names if saved["run"].get(name) != self.run.get(name)]
        if changed == ["precision"]:
            print(
                f"{self.folder} was saved by a run in {saved['run'].get('precision', 'an unknown precision')}; this "
                f"machine trains in {self.run['precision']}, so training restarts from the first epoch"
            )
            return []
        if changed:
            raise InputError(
                f"{self.folder} was saved by a run with another {', '.join(changed)}; "
                "resume with the same settings and photos, or remove it"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        history: list[dict[str, float]] = saved["history"]
        return history

    def save(self, parts: Mapping[str, Stateful], history: list[dict[str, float]]) -> None:
        """Replace the saved state atomically."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "state.draft"
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"run": dict(self.run), "history": history, **states}, draft)
        draft.replace(self.folder / "state.pt")


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Lock the folder of a run, and remove it when the run has succeeded.

    Raises:
        InputError: another process has locked it, or the folder contains something else.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / ".lock").is_file():
        raise InputError(f"{folder} is not the progress of a training run; choose another --out")
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another training run uses {folder}; wait for it, or choose another --out") from None
        yield
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()
        # The lock is removed last: if this is interrupted, the next run still recognises the folder as its own.
        shutil.rmtree(folder)
