"""Complexity and decode time of .cool files: parameters, MAC per pixel, time per stage.

    python benchmarks/mac_count.py [FILE…] [--repeat N] [--json]

The MAC figures are counted from the architecture that the file describes. Without a file,
the one in examples/ is taken. Times are medians, on one thread.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import coolchic
from coolchic import _decoder
from report import ROOT, environment

STAGES = {
    "entropy + ARM": ("weights", "latents"),
    "upsampling": ("upsampling",),
    "synthesis": ("synthesis",),
}


def measure(path: Path, repeat: int) -> dict:
    data = path.read_bytes()
    fields = coolchic.info(data)
    profiles, totals = [], []
    for _ in range(repeat):
        profiles.append(_decoder.profile(data, threads=1))
        start = time.perf_counter()
        _decoder.decode_bytes(data, threads=1)
        totals.append(time.perf_counter() - start)
    stages = {
        name: 1e3 * statistics.median(sum(p[part] for part in parts) for p in profiles)
        for name, parts in STAGES.items()
    }
    return {
        "file": path.name,
        "size": [fields["width"], fields["height"]],
        "bpp": fields["bpp"],
        "parameters": fields["parameters"],
        "mac_per_pixel": fields["mac_per_pixel"],
        "kmac_per_pixel": fields["mac_per_pixel"]["arm + synthesis"] / 1000,
        "decode_ms": {**stages, "whole": 1e3 * statistics.median(totals)},
    }


def print_text(result: dict, repeat: int) -> None:
    macs, times = result["mac_per_pixel"], result["decode_ms"]
    width, height = result["size"]
    print(f"{result['file']}: {width}x{height}, {result['bpp']:.4f} bpp")
    print(f"  parameters        {result['parameters']:>8}")
    print(f"  MAC/pixel         {macs['arm + synthesis']:>11.2f}  ARM + synthesis")
    print(f"    ARM             {macs['arm']:>10.1f}")
    print(f"    synthesis       {macs['synthesis']:>10.1f}")
    print(f"  MAC/pixel         {macs['upsampling']:>10.1f}   upsampling, not in the paper's count")
    print(f"  kMAC/pixel        {result['kmac_per_pixel']:>10.4f}")
    print(f"  decode, one thread, median of {repeat}:")
    for name, milliseconds in times.items():
        print(f"    {name:<15} {milliseconds:>10.1f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", type=Path, default=[ROOT / "examples" / "city.cool"])
    parser.add_argument("--repeat", type=int, default=11, metavar="N")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    try:
        results = [measure(path, arguments.repeat) for path in arguments.files]
    except (OSError, coolchic.DecodeError) as error:
        print(f"mac_count.py: {error}", file=sys.stderr)
        return 1
    if arguments.json:
        print(json.dumps({**environment(), "repeat": arguments.repeat, "files": results}, indent=2))
        return 0
    for result in results:
        print_text(result, arguments.repeat)
    print("  {cpu}, commit {commit}".format(**environment()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
