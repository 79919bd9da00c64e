"""What every benchmark says beside its numbers: command, machine, commit."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"


def environment() -> dict:
    """Command line, CPU, cores, Python, commit (with + if files differ from it)."""
    return {
        "command": " ".join(["python", _relative(sys.argv[0]), *map(_relative, sys.argv[1:])]),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def write_json(path: Path, value: object) -> None:
    """Write a result so that a run that is cut short leaves the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, indent=1) + "\n")
    temporary.replace(path)


def _relative(argument: str) -> str:
    """Paths as seen from the repository, so that results name no machine's folders."""
    path = Path(argument).resolve()
    if os.sep not in argument or not path.exists():
        return argument
    near = path.is_relative_to(ROOT.parent)
    return os.path.relpath(path, ROOT) if near else path.name


def _cpu() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        fields = dict(
            line.split(":", 1) for line in cpuinfo.read_text().splitlines() if ":" in line
        )
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        name = fields.get("model name", platform.machine())
        known = ("avx2", "avx512f", "avx512_vnni", "asimd")
        sets = [s for s in known if s in fields.get("flags", fields.get("Features", "")).split()]
        return f"{name} ({', '.join(sets)})" if sets else name
    return platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.strip()

    try:
        return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
