"""What a measurement was made on."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

__all__ = ["describe_machine", "load"]

_PACKAGES = ("skiagraph", "torch", "numpy", "scipy", "monai", "diffusers", "sigpy", "numba")


def load() -> float:
    """Processes that wanted the processor over the last minute."""
    return os.getloadavg()[0]


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    families = [line.partition(":")[2].strip() for line in lines if line.startswith(("cpu family", "model\t"))][:2]
    family = f" (family {families[0]}, model {families[1]})" if len(families) == 2 else ""
    return (names[0] if names else platform.machine()) + family


def _versions() -> str:
    found = [f"Python {platform.python_version()}"]
    for name in _PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return ", ".join(found)


def _commit() -> str:
    root = Path(__file__).resolve().parents[1]
    try:
        commit = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(root), "diff", "--quiet", "HEAD", "--", "src", "benchmarks"], check=False
        ).returncode
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + (" with changes" if changed else "")


def describe_machine(threads: int) -> dict[str, str]:
    """Machine, date, versions, command and threads, as text."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "Machine": f"{_processor()}, {len(os.sched_getaffinity(0))} cores, {platform.system()} {platform.machine()}",
        "bf16 instructions": "yes" if _bf16() else "no",
        "GPU": gpu,
        "Date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "Versions": _versions(),
        "Commit": _commit(),
        "Command": " ".join(["python -m benchmarks", *sys.argv[1:]]),
        "Threads": str(threads),
    }


def _bf16() -> bool:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in text or "amx_bf16" in text
