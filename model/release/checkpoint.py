"""A model folder: weights, `model.json` from which the network can be rebuilt anywhere, and what belongs to them.

`model.json` holds the hash of every other file, so its own hash names the whole folder: the model version.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from model.cli import InputError
from model.network import AgeNetwork, NetworkConfig

WEIGHTS = "weights.safetensors"
CARD = "model.json"
PRIVATE = ("held_out.csv", "learnt_photos.txt")
"""Files that tell whether a photo was in the labelled set: for owner and group alone, and not needed to score."""


def check_replaceable(folder: Path) -> None:
    """Stop before work is done whose result could only be written over something else.

    Raises:
        InputError: at `folder` there is something, and it is no model folder.
    """
    if not folder.name:
        raise InputError(f"out is {str(folder)!r}; it must be the name of a model folder, such as models/age")
    if folder.is_symlink():
        raise InputError(f"out is {folder}, a link; name a folder: what a store calls current is changed by promotion")
    if folder.exists() and not (folder / CARD).is_file():
        raise InputError(f"out is {folder}, which exists and is no model folder; name another, it would be replaced")


def save(folder: Path, network: AgeNetwork, facts: dict[str, Any], files: Mapping[str, str] | None = None) -> str:
    """Write a model folder and return its version.

    Args:
        folder: created or replaced. Never visible half-written; while it is replaced it is missing for a moment.
        network: weights are stored in float32, on the CPU.
        facts: what a reader of `model.json` should know: training settings, data fingerprint, metrics.
        files: text of the folder's other files, by name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (folder.with_name(f".{folder.name}.{what}") for what in ("draft", "old"))
    shutil.rmtree(draft, ignore_errors=True)  # of a run that was killed
    draft.mkdir()
    weights = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    save_file(weights, draft / WEIGHTS)
    (draft / WEIGHTS).chmod(mode(WEIGHTS))  # safetensors lets the owner alone read
    for name, text in (files or {}).items():
        (draft / name).write_text(text, encoding="utf-8")
        (draft / name).chmod(mode(name))
    hashes = {path.name: _sha256(path) for path in sorted(draft.iterdir())}
    card = {"network": asdict(network.config), "sha256": hashes, **facts}
    (draft / CARD).write_text(json.dumps(card, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    (draft / CARD).chmod(mode(CARD))
    draft.chmod(0o755)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return version(folder)


def mode(name: str) -> int:
    """Return who may read a file of a model folder: executors, which run as others, what is needed to score."""
    return 0o640 if name in PRIVATE else 0o644


def readable(path: Path) -> Path:
    """Return a file's path where this user may read it.

    Raises:
        InputError: it is for others.
    """
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} is for its owner and group; judge and promote as a user of the group that owns it")
    return path


def version(folder: Path) -> str:
    """Return the version of a model folder, 12 hexadecimal digits, after checking every file's hash.

    But for private files that this user may not read, and so can't use either.

    Raises:
        InputError: the folder or a file is missing, or a file is not the one that was released.
    """
    card = read_card(folder)
    for name, wanted in card["sha256"].items():
        if not (folder / name).is_file():
            raise InputError(f"the model folder {folder} lacks {name}")
        if name in PRIVATE and not os.access(folder / name, os.R_OK):
            continue
        found = _sha256(folder / name)
        if found != wanted:
            raise InputError(
                f"{folder / name} has hash {found[:12]}, but model.json was written with {wanted[:12]}; "
                "restore the folder as it was released"
            )
    return _sha256(folder / CARD)[:12]


def read_card(folder: Path) -> dict[str, Any]:
    """Return `model.json`.

    Raises:
        InputError: there is no such folder or file, or the file is not one that `save` wrote.
    """
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"{folder} is no model folder: it has no {CARD}; `python -m model.train` writes one")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not valid JSON: {error}") from None
    hashes = card.get("sha256") if isinstance(card, dict) else None
    if not isinstance(hashes, dict) or WEIGHTS not in hashes or "network" not in card:
        raise InputError(f"{path} lacks the entries network and sha256 of {WEIGHTS}")
    return card  # type: ignore[no-any-return]


def load(folder: Path) -> AgeNetwork:
    """Rebuild the network of a model folder, in float32, on the CPU, ready to predict.

    Raises:
        InputError: as `version`, or the weights do not fit the network that `model.json` describes.
    """
    version(folder)
    settings = read_card(folder)["network"]
    try:
        config = NetworkConfig(**{**settings, "mean": tuple(settings["mean"]), "std": tuple(settings["std"])})
        network = AgeNetwork(config)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (KeyError, TypeError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"the weights of {folder} do not fit its {CARD}: {reason}") from None
    return network.eval()


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
