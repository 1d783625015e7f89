"""Run the contenders of `bench_peers` as processes, and keep their seconds."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).with_name("peers")
N_CORES = len(os.sched_getaffinity(0))
SHORTLIST = 2
LIMIT_SECONDS = 3600
STAGE = re.compile(r"(?:scored|photos) in ([\d.]+) s")

FLOAT32 = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "DO_NOT_TRACK": "1", "DAFT_PROGRESS_BAR": "0"}

Variant = dict[str, int]
Seconds = dict[str, list[float]]

ALL_CORES = ((N_CORES, 1), (1, N_CORES))
"""Processes and threads of each."""


def variants(cores: Iterable[tuple[int, int]]) -> list[Variant]:
    """Return the settings of a peer that decodes in the scoring process or apart from it."""
    return [
        {"workers": workers, "threads": threads, "batch": batch, "apart": apart}
        for (workers, threads), (batch, apart) in product(cores, ((32, 0), (64, 0), (32, 1)))
    ]


VARIANTS: dict[str, list[Variant]] = {
    "ceiling": [
        {"processes": processes, "threads": threads, "batch": batch}
        for (processes, threads), batch in product(ALL_CORES, (16, 32, 64))
    ],
    "daft": variants([(0, 1), *ALL_CORES]),
    "ray": variants(ALL_CORES),
    "torch": [
        {"workers": workers, "threads": N_CORES, "batch": batch}
        for workers, batch in product((0, 1, N_CORES), (32, 64))
    ],
}
"""The settings of each peer that are tried."""


def describe(variant: Variant) -> str:
    """Return the settings of a peer as text."""
    return ", ".join(f"{name} {value}" for name, value in variant.items())


@dataclass(kw_only=True)
class Contenders:
    """Runs processes and collects their figures."""

    repeats: int
    is_float32: bool
    figures: dict[str, Seconds] = field(default_factory=dict)
    """For each comparison and contender, the seconds of each run."""
    variants: dict[str, list[Variant]] = field(default_factory=lambda: dict(VARIANTS))
    """For each peer, the settings to try."""

    def run(self, words: Iterable[object], project: Path, **environment: str) -> tuple[float, str]:
        """Run a process with the code of a checkout and return its seconds and output.

        Raises:
            RuntimeError: the exit code is not 0; the end of the output is in the text.
        """
        ours = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": f"{project.resolve()}:{Path(__file__).parent}:{PEERS}",
            "PYSPARK_PYTHON": sys.executable,
            **QUIET,
            **(FLOAT32 if self.is_float32 else {}),
        }
        # Without compiled bytecode, importing torch and the model takes 16 s instead of 5 in every process.
        inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        command = [str(word) for word in words]
        started = time.monotonic()
        with subprocess.Popen(
            command,
            cwd=project,
            env={**inherited, **ours, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=LIMIT_SECONDS)
            except BaseException:  # with its workers, which would compute beside the next contender
                os.killpg(process.pid, signal.SIGKILL)
                raise
        seconds = time.monotonic() - started
        if process.returncode:
            raise RuntimeError(f"exit code {process.returncode} of {' '.join(command)}:\n{output[-3000:]}")
        return seconds, output

    def score(self, peer: str, variant: Variant, flags: dict[str, object]) -> float:
        """Run a scoring peer and return its seconds: the stage of `ceiling`, the whole process of the others."""
        script = PEERS / ("forward_alone.py" if peer == "ceiling" else f"{peer}_scores.py")
        settings = {name: value for name, value in variant.items() if name != "apart"}
        words = [word for name, value in settings.items() for word in (f"--{name}", value)]
        given = [word for flag in flags.items() for word in flag]
        if "--out" in flags:
            shutil.rmtree(str(flags["--out"]), ignore_errors=True)
        apart = ["--apart"] if variant.get("apart") else []
        # torch.set_num_threads holds for the thread that calls it, and Daft scores in several.
        environment = {"OMP_NUM_THREADS": str(variant["threads"])}
        whole, output = self.run([sys.executable, script, *words, *given, *apart], PROJECT, **environment)
        return stage_seconds(output) if peer == "ceiling" else whole

    def tune(self, name: str, peer: str, score: Callable[[Variant], float]) -> Variant:
        """Run each setting of a peer once and return the best; one that fails is left out.

        At the next number of photos, only the best `SHORTLIST` are tried.
        """
        tried = []
        for variant in self.variants[peer]:
            try:
                tried.append((score(variant), variant))
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                print(f"{name}, tuning: {peer} ({describe(variant)}) FAILED: {error}", flush=True)
                continue
            self.note(f"{name}, tuning", f"{peer} ({describe(variant)})", tried[-1][0])
        if not tried:
            raise RuntimeError(f"no setting of {peer} has worked")
        ranked = [variant for _, variant in sorted(tried, key=lambda pair: pair[0])]
        self.variants[peer] = ranked[:SHORTLIST]
        return ranked[0]

    def alternate(self, name: str, contenders: Iterable[Callable[[], dict[str, float]]]) -> None:
        """Run every contender once in each round."""
        chosen = list(contenders)
        for _ in range(self.repeats):
            for contender in chosen:
                for measured, seconds in contender().items():
                    self.note(name, measured, seconds)

    def note(self, name: str, measured: str, seconds: float) -> None:
        """Keep and print a figure."""
        self.figures.setdefault(name, {}).setdefault(measured, []).append(seconds)
        print(f"{name}: {measured} {seconds:.2f} s, load {os.getloadavg()[0]:.1f}", flush=True)


def stage_seconds(output: str) -> float:
    """Return the seconds of a stage that a process has printed.

    Raises:
        RuntimeError: it has printed none.
    """
    found = STAGE.findall(output)
    if not found:
        raise RuntimeError(f"no line like {STAGE.pattern!r} in the output:\n{output[-3000:]}")
    return float(found[-1])
