import os
import subprocess
import sys

import pytest
import torch

from model import precision

CPU = torch.device("cpu")
CUDA = torch.device("cuda")


@pytest.mark.parametrize(
    ("avx512_bf16", "amx", "capability", "expected"),
    [
        (True, False, "AVX512", torch.bfloat16),
        (False, True, "AVX512", torch.bfloat16),
        (False, False, "AVX512", torch.float32),
        (False, False, "AVX2", torch.float32),
        (True, True, "AVX2", torch.float32),
        (True, True, "DEFAULT", torch.float32),
    ],
)
def test_cpu_uses_bfloat16_only_with_its_instructions(monkeypatch, avx512_bf16, amx, capability, expected):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512_bf16)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert precision.native_dtype(CPU) == expected


@pytest.mark.parametrize(("native", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_gpu_uses_bfloat16_only_where_it_is_not_emulated(monkeypatch, native, expected):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: native or including_emulation)
    assert precision.native_dtype(CUDA) == expected


def test_aten_cpu_capability_avx2_stands_for_a_processor_without_bfloat16():
    program = "import torch; from model import precision; print(precision.native_dtype(torch.device('cpu')))"
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": "avx2"}
    child = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert child.stdout == "torch.float32\n"


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_computes_in_the_native_precision_each_time_it_is_entered(monkeypatch, dtype):
    monkeypatch.setattr(precision, "native_dtype", lambda _: dtype)
    context = precision.autocast(CPU)
    for _ in range(2):
        with context:
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
