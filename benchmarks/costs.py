"""What a process costs: seconds from start to end, and peak memory (Linux)."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

PEAK = """
import io, sys
from pathlib import Path
{imports}
data = Path(sys.argv[1]).read_bytes()
if len(sys.argv) > 2:
    picture = {decode}
# Of this program alone: getrusage would count what the parent had when it forked.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""
OURS = "from coolchic._decoder import decode_bytes", "decode_bytes(data, threads=1)"
PILLOW = "from PIL import Image; Image.init()", "Image.open(io.BytesIO(data)).load()"


@contextmanager
def one_core() -> Iterator[None]:
    """Keeps this thread, and what it starts, on one core."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {max(everywhere)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, everywhere)


def seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def cpu_seconds(action: Callable[[], object]) -> float:
    """Of this process, all its threads: what other load on the machine disturbs least."""
    start = time.process_time()
    action()
    return time.process_time() - start


def summary(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    return {"min_ms": 1e3 * min(times), "median_ms": 1e3 * statistics.median(times)}


def peak_of_decoding(path: Path, imports: str, decode: str) -> int:
    """Bytes above a process that only imports the decoder and reads the file."""
    program = PEAK.format(imports=imports, decode=decode)

    def peak(*arguments: str) -> int:
        command = [sys.executable, "-c", program, str(path), *arguments]
        return 1024 * int(subprocess.run(command, capture_output=True, check=True).stdout)

    return peak("decode") - peak()


def peak_of_program(command: list[str]) -> int:
    """Bytes of a program that writes more to standard output than a pipe holds.

    It is looked at while it waits for a reader, when its work is done.
    """
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        process.stdout.read(1)
        status = Path(f"/proc/{process.pid}/status").read_text()
        while process.stdout.read(1 << 20):
            pass
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return 1024 * int(fields["VmHWM"].split()[0])
