"""Time and memory of one decode in a process of its own."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

STATUS = Path("/proc/self/status")

SCRIPT = """
import json, sys, time
from coolchic import DecodeError, decode

def peak():
    # Not ru_maxrss: a child begins with that of the process it was forked from.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))

data = sys.stdin.buffer.read()
before, start = peak(), time.perf_counter()
try:
    decode(data, threads=1, **json.loads(sys.argv[1]))
    error = None
except DecodeError as exception:
    error = str(exception)
seconds = time.perf_counter() - start
json.dump({"error": error, "seconds": seconds, "kilobytes": peak() - before}, sys.stdout)
"""


@dataclass(frozen=True)
class Cost:
    error: str | None
    seconds: float
    kilobytes: int


def cost_of_decoding(data: bytes, **arguments) -> Cost:
    if not STATUS.exists():
        pytest.skip("the peak of memory is read from /proc, which this system lacks")
    command = [sys.executable, "-c", SCRIPT, json.dumps(arguments)]
    run = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True)
    return Cost(**json.loads(run.stdout))
