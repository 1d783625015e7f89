"""The only place that decides whether a network computes in half precision.

bfloat16 is used where the processor or GPU has instructions for it. A processor without them emulates it: training
is then 13 times slower than in float32 (4.6 against 61.6 photos/s at 48 px on two cores of an AMD Zen 3).

`ATEN_CPU_CAPABILITY=avx2`, the variable by which PyTorch limits its own kernels, also limits this decision.
`ONEDNN_MAX_CPU_ISA=AVX2` limits the kernels of oneDNN. Set both variables to test on a newer processor as if it had
only AVX2.
"""

import torch


def native_dtype(device: torch.device) -> torch.dtype:
    """Return the type in which convolutions on `device` are computed: bfloat16 where it is native, else float32.

    >>> native_dtype(torch.device("cpu")) in {torch.bfloat16, torch.float32}
    True
    """
    if device.type == "cuda":
        is_native = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        has_instructions = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()  # noqa: SLF001
        # "AVX512" also with AMX. It is "AVX2" or "DEFAULT" where the environment variable says so.
        is_native = has_instructions and torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.bfloat16 if is_native else torch.float32


def autocast(device: torch.device) -> torch.autocast:
    """Return a context, reusable, in which a float32 network computes in `native_dtype(device)`."""
    dtype = native_dtype(device)
    return torch.autocast(device.type, dtype, enabled=dtype != torch.float32)


def name(dtype: torch.dtype) -> str:
    """Return the name of a type as `model.json` states it.

    >>> name(torch.bfloat16)
    'bfloat16'
    """
    return str(dtype).removeprefix("torch.")
