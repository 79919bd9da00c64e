"""The least time that a decoder's multiplications take on one core.

Multiplications of the file's architecture (ARM, synthesis and bicubic upsampling) over the peak
rate of 16-bit multiply-adds, measured by ``madd_rate.cpp`` on the core that everything else
runs on. Entropy decoding, memory and control are not in it. A decoder may come in below it where
it skips multiplications by zero.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from common import skipped

SOURCE = Path(__file__).with_name("madd_rate.cpp")


def madd_rates() -> dict[str, float]:
    """16-bit multiplications with sums per second, by instruction, the instruction set first."""
    compiler = next(filter(shutil.which, (os.environ.get("CXX", "c++"), "g++", "clang++")), None)
    if compiler is None:
        skipped("the arithmetic floor (there is no C++ compiler)")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "madd_rate"
        subprocess.run([compiler, "-std=c++17", "-O2", SOURCE, "-o", program], check=True)
        return json.loads(subprocess.run(program, stdout=subprocess.PIPE, check=True).stdout)


def multiplications(fields: dict) -> float:
    """Of a whole picture, by what ``coolchic.info`` says of the file."""
    per_pixel = fields["mac_per_pixel"]
    return (per_pixel["arm + synthesis"] + per_pixel["upsampling"]) * (
        fields["width"] * fields["height"]
    )


def floor_ms(fields: dict, rates: dict[str, float]) -> dict[str, float]:
    """Milliseconds by instruction."""
    return {name: 1e3 * multiplications(fields) / rate for name, rate in rates.items()}
