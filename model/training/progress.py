"""What a training keeps after each epoch, so that it can go on where it was cut off."""

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


class Part(Protocol):
    """Network, optimizer or schedule."""

    def state_dict(self) -> dict[str, Any]:
        """Return the state."""

    def load_state_dict(self, state_dict: Any, /) -> Any:
        """Take it back."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The folder `OUT.training` of one training run."""

    folder: Path
    run: Mapping[str, Any]
    """What makes it the same run: settings, and the fingerprint of what is learnt from."""

    def load(self, parts: Mapping[str, Part], device: torch.device) -> list[dict[str, float]]:
        """Give the parts their kept state; returns the figures of the epochs that are done.

        Raises:
            InputError: another run was begun there, or what it kept can't be read.
        """
        path = self.folder / "state.pt"
        if not path.is_file():
            return []
        try:
            saved = torch.load(path, map_location=device, weights_only=True)
        except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(f"{path} can't be read ({reason}); remove {self.folder}") from None
        if saved["run"] != self.run:
            names = sorted(saved["run"].keys() | self.run.keys())
            changed = [name for name in names if saved["run"].get(name) != self.run.get(name)]
            raise InputError(
                f"{self.folder} was begun with other {', '.join(changed)}; go on with the same, or remove it"
            )
        for name, part in parts.items():
            part.load_state_dict(saved[name])
        history: list[dict[str, float]] = saved["history"]
        return history

    def keep(self, parts: Mapping[str, Part], history: list[dict[str, float]]) -> None:
        """Replace what was kept in one step."""
        self.folder.mkdir(parents=True, exist_ok=True)
        draft = self.folder / "state.draft"
        states = {name: part.state_dict() for name, part in parts.items()}
        torch.save({"run": dict(self.run), "history": history, **states}, draft)
        draft.replace(self.folder / "state.pt")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the folder of a run, and remove it when the run has ended well.

    Raises:
        InputError: another process holds it, or it is somebody else's.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / ".lock").is_file():
        raise InputError(f"{folder} holds something else than a training's progress; name another --out")
    with (folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(f"another training is at work in {folder}; wait for it, or name another --out") from None
        yield
        for path in folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != ".lock":
                path.unlink()
        shutil.rmtree(folder)  # the lock last: without it a killed removal would leave a folder of nobody
