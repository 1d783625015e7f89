"""Check a file of weights without building the network: no torch, 0.1 s."""

import hashlib
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from model.config import NetworkConfig

LAYOUTS = {
    "distribution": "67972f007a7e",
    "scalar": "4d6a1117c4fa",
}
"""Hash of `layout` for each head."""


def layout(path: Path) -> str:
    """Return the hash of the names, types and shapes of a file.

    Raises:
        SafetensorError: it is not a safetensors file.
    """
    with safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in sorted(file.keys())}
        lines = [f"{name} {part.get_dtype()} {part.get_shape()}\n" for name, part in slices.items()]
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:12]


def are_usual(path: Path, config: NetworkConfig) -> bool:
    """Check that a file has the layout of this network, finite values, and no negative variance.

    Such a network has a finite output, unless it exceeds the range of float32. False does not mean that the weights
    can't be used.
    """
    try:
        if layout(path) != LAYOUTS[config.head]:
            return False
    except SafetensorError:
        return False
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118  it is no mapping
            values = file.get_tensor(name)
            if not np.isfinite(values).all() or (name.endswith("running_var") and values.min() < 0):
                return False
    return True
