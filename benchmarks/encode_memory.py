"""Peak memory of encoding, per pixel, above what PyTorch itself takes (Linux).

    python benchmarks/encode_memory.py [--picture FILE] [--sizes 768x512 …] [--json]

The picture is tiled to each size and encoded in a fresh process with three iterations, all
of whose memory is what a long training needs too. A process that only imports the encoder
and multiplies two matrices is taken off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from report import ROOT, environment

PROGRAM = """
import sys
import numpy as np
import torch
from PIL import Image
from coolchic.encoder import encode_image
torch.ones(64, 64) @ torch.ones(64, 64)
if sys.argv[1:]:
    width, height = map(int, sys.argv[2:])
    tile = np.asarray(Image.open(sys.argv[1]).convert("RGB"))
    repeats = (-(-height // tile.shape[0]), -(-width // tile.shape[1]), 1)
    encode_image(np.tile(tile, repeats)[:height, :width], preset="fast", iterations=3)
status = dict(line.split(":", 1) for line in open("/proc/self/status"))
print(status["VmHWM"].split()[0])
"""


def peak_bytes(*arguments: str) -> int:
    command = [sys.executable, "-c", PROGRAM, *arguments]
    return 1024 * int(subprocess.run(command, capture_output=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--picture", type=Path, default=ROOT / "examples" / "city.png")
    parser.add_argument("--sizes", nargs="+", default=["768x512", "2048x1536", "4096x3072"])
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    base = peak_bytes()
    found = {}
    for size in arguments.sizes:
        width, height = map(int, size.split("x"))
        peak = peak_bytes(str(arguments.picture), str(width), str(height))
        found[size] = (peak - base) / (width * height)
    if arguments.json:
        print(json.dumps({**environment(), "peak_bytes_per_pixel": found}, indent=2))
        return
    for size, value in found.items():
        print(f"{size}: {value:.0f} bytes per pixel above {base / 2**20:.0f} MiB")


if __name__ == "__main__":
    main()
