"""Time and memory of a program."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[2]


class Cost(NamedTuple):
    """Time and memory of a program."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    """Resident memory."""


def cost(*words: str) -> Cost:
    """Run a program in the project's folder; its output goes to stderr.

    A small process starts it: Linux takes the memory of the process that starts a program as the program's first peak,
    and a benchmark that has made a chain has gigabytes.

    Raises:
        CalledProcessError: the program failed.
    """
    done = subprocess.run([sys.executable, __file__, *words], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    return Cost(*json.loads(done.stdout))


if __name__ == "__main__":
    started = time.monotonic()
    process = subprocess.Popen(sys.argv[1:], stdout=sys.stderr)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(abs(os.waitstatus_to_exitcode(status)))
    print(json.dumps([time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024]))
