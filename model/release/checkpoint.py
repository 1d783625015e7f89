"""A model folder: weights, `model.json`, and the files that belong to them.

The network can be rebuilt from `model.json` and the weights alone. `model.json` contains the hash of every other file,
so its own hash identifies the whole folder: the model version.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.numpy import save_file

from model.cli import InputError, short
from model.config import NetworkConfig
from model.evaluation.curves import Curves, parse

if TYPE_CHECKING:
    from model.network import AgeNetwork

WEIGHTS = "weights.safetensors"
MODEL_JSON = "model.json"
CALIBRATION = "calibration.json"

MAX_JSON_BYTES = 2**20
"""Of `model.json` and other JSON files of the folder; they have some 10 kB."""

HELD_OUT, TRAINING = "held_out.csv", "learnt_photos.txt"

PRIVATE = (HELD_OUT, TRAINING)
"""Files that reveal whether a photo was in the labelled set: readable by owner and group, not needed to score."""


_FILE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")


def check_replaceable(folder: Path) -> None:
    """Check, before any work, that a model folder can be written at `folder`.

    Raises:
        InputError: `folder` is a link, or exists and is not a model folder.
    """
    if not folder.name:
        raise InputError(f"out is {str(folder)!r}; it must be the name of a model folder, such as models/age")
    if folder.is_symlink():
        raise InputError(f"out is {folder}, a link; choose a folder: promotion changes the link of a store")
    if folder.exists() and not (folder / MODEL_JSON).is_file():
        raise InputError(
            f"out is {folder}, which exists and is not a model folder; choose another: it would be replaced"
        )


def save(folder: Path, network: "AgeNetwork", facts: dict[str, Any], files: Mapping[str, str] | None = None) -> str:
    """Write a model folder and return its version.

    Args:
        folder: created or replaced. Never visible half-written, but missing for a moment while it is replaced.
        network: its weights are stored in float32.
        facts: other entries of `model.json`: training settings, data fingerprint, metrics.
        files: text of the folder's other files, by name.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft, old = (folder.with_name(f".{folder.name}.{suffix}") for suffix in ("draft", "old"))
    shutil.rmtree(draft, ignore_errors=True)  # of an interrupted run
    draft.mkdir()
    weights = {name: value.detach().cpu().contiguous().numpy() for name, value in network.state_dict().items()}
    save_file(weights, draft / WEIGHTS)
    (draft / WEIGHTS).chmod(mode(WEIGHTS))  # safetensors makes it readable by its owner only
    for name, text in (files or {}).items():
        (draft / name).write_text(text, encoding="utf-8")
        (draft / name).chmod(mode(name))
    hashes = {path.name: _sha256(path) for path in sorted(draft.iterdir())}
    content = {"network": asdict(network.config), "sha256": hashes, **facts}
    (draft / MODEL_JSON).write_text(
        json.dumps(content, indent=2, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8"
    )
    (draft / MODEL_JSON).chmod(mode(MODEL_JSON))
    draft.chmod(0o755)
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    draft.rename(folder)
    shutil.rmtree(old, ignore_errors=True)
    return version(folder)


def mode(name: str) -> int:
    """Return the permissions of a file of a model folder.

    Executors run as another user. They can read the files that scoring needs.

    >>> oct(mode("weights.safetensors")), oct(mode("held_out.csv"))
    ('0o644', '0o640')
    """
    return 0o640 if name in PRIVATE else 0o644


def readable(path: Path) -> Path:
    """Return the path of a file, after checking that this user may read it.

    Raises:
        InputError: this user may not.
    """
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} is readable by its owner and group only; run this as a user of that group")
    return path


def version(folder: Path) -> str:
    """Return the version of a model folder, 12 hexadecimal digits, after checking the hash of every file.

    Private files that this user can't read are not checked.

    Raises:
        InputError: the folder or a file is missing, or a file was changed after the release.
    """
    for name, expected in read_model_json(folder)["sha256"].items():
        if not (folder / name).is_file():
            raise InputError(f"the model folder {folder} lacks {name}")
        if name in PRIVATE and not os.access(folder / name, os.R_OK):
            continue
        actual = _sha256(folder / name)
        if actual != expected:
            raise InputError(
                f"{folder / name} has hash {actual[:12]}, but model.json states {expected[:12]}; "
                "restore the folder as it was released"
            )
    return _sha256(folder / MODEL_JSON)[:12]


def read_model_json(folder: Path) -> dict[str, Any]:
    """Return the content of `model.json`.

    Raises:
        InputError: the folder or the file does not exist, or `save` did not write it.
    """
    path = folder / MODEL_JSON
    if not path.is_file():
        raise InputError(f"{folder} is not a model folder: it has no {MODEL_JSON}; `python -m model.train` writes one")
    content = read_json(path)
    hashes = content.get("sha256") if isinstance(content, dict) else None
    if not isinstance(hashes, dict) or WEIGHTS not in hashes or "network" not in content:
        raise InputError(f"{path} lacks the entries network and sha256 of {WEIGHTS}")
    for name, expected in hashes.items():
        if not _FILE_NAME.fullmatch(name) or not isinstance(expected, str):
            raise InputError(
                f"{path} has sha256 {expected!r:.80} for {name!r:.80}; it must be text, for a file beside it"
            )
    return content  # type: ignore[no-any-return]


def read_json(path: Path) -> Any:
    """Return the content of a JSON file of a model folder.

    Raises:
        InputError: it is not valid JSON, or larger than such files are.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(f"{path} has {path.stat().st_size} bytes; a model folder has at most {MAX_JSON_BYTES}")
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # of nested lists
        raise InputError(f"{path} is not valid JSON: {error}") from None


def config(folder: Path) -> NetworkConfig:
    """Return the network's settings from `model.json`.

    Raises:
        InputError: they are impossible.
    """
    settings = read_model_json(folder)["network"]
    try:
        return NetworkConfig(**{**settings, "mean": tuple(settings["mean"]), "std": tuple(settings["std"])})
    except (KeyError, TypeError) as error:
        raise _do_not_fit(folder, error) from None


def curves(folder: Path) -> Curves | None:
    """Return the curves of the folder's calibration; None where it has none.

    Raises:
        InputError: `calibration.json` can't be used.
    """
    # A calibration file that is not part of the version must not change the results of that version.
    if CALIBRATION not in read_model_json(folder)["sha256"]:
        return None
    path = folder / CALIBRATION
    try:
        return parse(read_json(path))
    except ValueError as error:
        raise InputError(f"{path} can't be used: {error}") from None


def load(folder: Path) -> "AgeNetwork":
    """Rebuild the network of a model folder: float32, on the CPU, in evaluation mode.

    Raises:
        InputError: as `version`, or the weights do not fit the network that `model.json` describes.
    """
    from safetensors.torch import load_file  # noqa: PLC0415

    from model.network import AgeNetwork  # noqa: PLC0415

    version(folder)
    network = AgeNetwork(config(folder)).eval()
    try:
        _check_size(folder / WEIGHTS, network)
        network.load_state_dict(load_file(folder / WEIGHTS))
    except (RuntimeError, SafetensorError) as error:
        raise _do_not_fit(folder, error) from None
    _check_finite(folder, network)
    return network


def _do_not_fit(folder: Path, error: Exception) -> InputError:
    return InputError(f"the weights of {folder} do not fit its {MODEL_JSON}: {short(error)}")


def _check_size(weights: Path, network: "AgeNetwork") -> None:
    n_bytes, largest = weights.stat().st_size, 2 * sum(value.nbytes for value in network.state_dict().values())
    if n_bytes > largest:
        raise RuntimeError(f"{n_bytes} bytes, at most {largest} wanted")


def _check_finite(folder: Path, network: "AgeNetwork") -> None:
    import torch  # noqa: PLC0415

    wrong = [name for name, value in network.state_dict().items() if not value.isfinite().all()]
    # A grey picture, because finite weights, such as a negative variance, can give an output that is none.
    with torch.no_grad():
        output = network(torch.full((1, 32, 32, 3), 128, dtype=torch.uint8))
    if wrong or not output.isfinite().all():
        where = f"{wrong[0]} has values" if wrong else "its output has values"
        raise InputError(
            f"the weights of {folder} can't be used: {where} that are not finite; restore or train the model"
        )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
