"""The network compiled ahead of time for one kind of processor (AOTInductor), as a cache beside the model folder.

Compiling in every worker would cost more than it saves; a package is built once and loads in a moment.
"""

import hashlib
import inspect
import os
import platform
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx.experimental.optimization import fuse

from model.network import AgeNetwork
from model.release import checkpoint


def prepare(folder: Path) -> str:
    """Compile the network for this machine's processor once, and say what scoring on it will run.

    The package (ahead-of-time Inductor) is a cache beside the model folder, one for each model version, torch, kind
    of processor and code of the network. Where it can't be built (no C++ compiler, folder not writable) scoring is
    correct but slower.

    Raises:
        InputError: the folder is no sound model folder.
    """
    model_version = checkpoint.version(folder)
    if torch.cuda.is_available():
        return "cuda, compiled at first use"
    if not cpu_has_bfloat16():
        return "cpu, float32"
    package = path(folder, model_version)
    if package.is_file():
        return "cpu, bfloat16, compiled"
    network = checkpoint.load(folder)
    size = network.config.image_size
    example = torch.zeros(8, size, size, 3, dtype=torch.uint8)
    try:
        package.parent.mkdir(exist_ok=True)
        with torch.no_grad(), tempfile.TemporaryDirectory(dir=package.parent) as draft:
            program = torch.export.export(
                folded(network, torch.bfloat16),
                (example,),
                dynamic_shapes=({0: torch.export.Dim("batch", min=2, max=1024)},),
            )
            built = torch._inductor.aoti_compile_and_package(  # noqa: SLF001
                program, package_path=f"{draft}/network.pt2", inductor_configs=_ONE_BUILD
            )
            Path(built).replace(package)
    except (OSError, RuntimeError) as error:
        return f"cpu, bfloat16, not compiled ({type(error).__name__}: {str(error).splitlines()[0]})"
    return "cpu, bfloat16, compiled"


_ONE_BUILD = {"aot_inductor.precompile_headers": False, "cpp_cache_precompile_headers": False}
"""Precompiled headers pay from the second build on: for one they cost 10 s, and leave 290 MB in TMPDIR."""


def folded(network: AgeNetwork, dtype: torch.dtype) -> Any:
    """Return the network with batch normalisation folded into its convolutions, and those in `dtype`."""
    folded: Any = fuse(network)
    folded.backbone.to(dtype)
    return folded.to(memory_format=torch.channels_last)


def cpu_has_bfloat16() -> bool:
    """Return whether this processor computes in bfloat16 rather than imitating it."""
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())  # noqa: SLF001


def path(folder: Path, model_version: str) -> Path:
    """Return where the package of a model folder lies for this kind of processor, this torch and this network."""
    flags = inspect.getsource(AgeNetwork) + platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        flags += next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    made_for = hashlib.sha256(flags.encode()).hexdigest()[:8]
    return folder.with_name(f"{folder.name}.compiled") / f"{model_version}-{torch.__version__}-{made_for}.pt2"


_loading = threading.Lock()


def load(package: Path) -> Callable[[Tensor], Tensor]:
    """Return the network of a package."""
    # Without the check a batch in another layout gives wrong numbers and no error.
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
    # The loader unpacks 47 MB into TMPDIR and leaves it there; once it is mapped, the files can go.
    before = os.environ.get("TMPDIR")
    with _loading, tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        try:
            loaded: Callable[[Tensor], Tensor] = torch._inductor.aoti_load_package(str(package))  # noqa: SLF001
        finally:
            if before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = before
    return loaded
