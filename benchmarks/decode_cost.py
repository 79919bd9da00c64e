"""What decoding a file costs: bytes around the payload, time, start-up, memory.

    python benchmarks/decode_cost.py FILE… [--repeat N] [--json]

Times are medians: of `decode_bytes` on one thread, and of the whole `coolchic-decode`
process writing a PPM. Memory is the peak of a process that decodes, above one that only
imports the decoder, per pixel (Linux).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import coolchic
from coolchic._decoder import decode_bytes
from report import environment

OVERHEAD = ("header", "section lengths and checksum", "latents: layout and states")

PEAK = """
import sys
from pathlib import Path
from coolchic._decoder import decode_bytes
if sys.argv[1:]:
    picture = decode_bytes(Path(sys.argv[1]).read_bytes(), threads=1)
# Of this program alone: getrusage would count what the parent had when it forked.
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""


def peak_bytes(*arguments: str) -> int:
    command = [sys.executable, "-c", PEAK, *arguments]
    return 1024 * int(subprocess.run(command, capture_output=True, check=True).stdout)


def median_seconds(action, repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(path: Path, repeat: int) -> dict:
    data = path.read_bytes()
    fields = coolchic.info(data)
    pixels = fields["width"] * fields["height"]
    states = 4 * fields["lanes"]
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "coolchic.cli", "decode", str(path), f"{folder}/out.ppm"]
        process = median_seconds(lambda: subprocess.run(command, check=True), repeat)
    return {
        "file": path.name,
        "size": [fields["width"], fields["height"]],
        "bytes": fields["total_bytes"],
        "overhead_bytes": sum(fields["bytes"][name] for name in OVERHEAD) - states,
        "state_bytes": states,
        "decode_ms": 1e3 * median_seconds(lambda: decode_bytes(data, threads=1), repeat),
        "process_ms": 1e3 * process,
        "peak_bytes_per_pixel": (peak_bytes(str(path)) - peak_bytes()) / pixels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--repeat", type=int, default=11, metavar="N")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = [measure(path, arguments.repeat) for path in arguments.files]
    if arguments.json:
        print(json.dumps({**environment(), "files": results}, indent=2))
        return
    print("file                  bytes  overhead  +states  decode ms  process ms  peak bytes/pixel")
    for r in results:
        print(
            f"{r['file']:<20} {r['bytes']:>6} {r['overhead_bytes']:>9} {r['state_bytes']:>8} "
            f"{r['decode_ms']:>10.1f} {r['process_ms']:>11.0f} {r['peak_bytes_per_pixel']:>17.1f}"
        )
    print("{cpu}, commit {commit}".format(**environment()))


if __name__ == "__main__":
    main()
