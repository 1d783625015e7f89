"""The network compiled ahead of time (AOTInductor) for one kind of processor: a cache beside the model folder.

Compiling in every worker would cost more than it saves. A package is built once and loads in under a second.
"""

import hashlib
import inspect
import os
import platform
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from model import precision, resnet
from model.network import AgeNetwork
from model.release import checkpoint

MIN_BATCH = 2
"""Smallest batch that a package accepts; a smaller one must be padded. Export treats sizes 0 and 1 as constants."""

_MAX_BATCH = 1024

_INDUCTOR_CONFIG = {"aot_inductor.precompile_headers": False, "cpp_cache_precompile_headers": False}
"""Precompiled headers save time from the second build on. One build takes 10 s longer and leaves 290 MB in TMPDIR."""

_tmpdir_lock = threading.Lock()


def prepare(folder: Path) -> str:
    """Compile the network for this machine's processor, unless that is done already.

    The package is a cache beside the model folder. Its name contains everything that it depends on: model version,
    torch version, precision, kind of processor, code of the network. Where it can't be built (no C++ compiler, folder
    not writable), scoring is correct but slower.

    Returns:
        What scoring on this machine will run, such as "cpu, bfloat16, compiled".

    Raises:
        InputError: the model folder is incomplete or damaged.
    """
    model_version = checkpoint.version(folder)
    if torch.cuda.is_available():
        return "cuda, compiled at first use"
    dtype = precision.native_dtype(torch.device("cpu"))
    device_and_precision = f"cpu, {precision.name(dtype)}"
    if dtype == torch.float32:
        # Compiled, the network is only 1.05 to 1.08 times as fast in float32 (median of 10 pairs, 64 px, batches of 32,
        # AVX2 kernels, CPU time of one thread), and 1.11 times with frozen weights. Building it takes a minute or two.
        # A float32 package also limits the batch: PyTorch selects a convolution by whether the batch has 16 images,
        # and the export keeps the answer of its example as a bound (a photo and its mirror image are two images).
        return device_and_precision
    package = path(folder, model_version, dtype)
    if package.is_file():
        return f"{device_and_precision}, compiled"
    network = checkpoint.load(folder)
    size = network.config.image_size
    example = torch.zeros(8, size, size, 3, dtype=torch.uint8)
    try:
        package.parent.mkdir(exist_ok=True)
        with torch.no_grad(), tempfile.TemporaryDirectory(dir=package.parent) as draft:
            program = torch.export.export(
                folded(network, dtype),
                (example,),
                dynamic_shapes=({0: torch.export.Dim("batch", min=MIN_BATCH, max=_MAX_BATCH)},),
            )
            built = torch._inductor.aoti_compile_and_package(  # noqa: SLF001
                program, package_path=f"{draft}/network.pt2", inductor_configs=_INDUCTOR_CONFIG
            )
            Path(built).replace(package)
    except (OSError, RuntimeError) as error:
        return f"{device_and_precision}, not compiled ({type(error).__name__}: {str(error).splitlines()[0]})"
    return f"{device_and_precision}, compiled"


def folded(network: AgeNetwork, dtype: torch.dtype) -> AgeNetwork:
    """Return the network with batch normalisation folded into its convolutions, and the backbone in `dtype`."""
    folded = resnet.folded(network)
    folded.backbone.to(dtype)
    return folded.to(memory_format=torch.channels_last)


def path(folder: Path, model_version: str, dtype: torch.dtype) -> Path:
    """Return the path of the package of a model folder for this kind of processor, this torch and this network."""
    code = inspect.getsource(AgeNetwork) + inspect.getsource(resnet)
    # The capability, because ATEN_CPU_CAPABILITY limits the instructions that Inductor generates.
    target = code + platform.machine() + torch.backends.cpu.get_cpu_capability()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        target += next((line for line in cpuinfo.read_text().splitlines() if line.startswith("flags")), "")
    target_hash = hashlib.sha256(target.encode()).hexdigest()[:8]
    file_name = f"{model_version}-{torch.__version__}-{precision.name(dtype)}-{target_hash}.pt2"
    return folder.with_name(f"{folder.name}.compiled") / file_name


def load(package: Path) -> Callable[[Tensor], Tensor]:
    """Return the network of a package."""
    # Without the check a batch in another layout gives wrong numbers and no error.
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
    # The loader unpacks 47 MB into TMPDIR and leaves them there. Once they are mapped, the files can be deleted.
    tmpdir_before = os.environ.get("TMPDIR")
    with _tmpdir_lock, tempfile.TemporaryDirectory() as scratch:
        os.environ["TMPDIR"] = scratch
        try:
            # As aoti_load_package does, whose import of torch._inductor costs 1.5 s of CPU time in each worker.
            package_loader = torch._C._aoti.AOTIModelPackageLoader  # noqa: SLF001
            loaded = package_loader(str(package), "model", False, 1, -1)
        finally:
            if tmpdir_before is None:
                del os.environ["TMPDIR"]
            else:
                os.environ["TMPDIR"] = tmpdir_before

    def forward(photos: Tensor) -> Tensor:
        (output,) = loaded.run([photos])
        return output

    return forward
