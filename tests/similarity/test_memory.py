"""Memory of maps with a gradient: what the argument says, however many images there are."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from skiagraph.similarity import LocalInformation
measure = LocalInformation.default(energy=True)
generator = torch.Generator().manual_seed(0)
first, second = (torch.rand(6, 1, 48, 48, generator=generator) for _ in range(2))
second.requires_grad_()
measure(first[:1, :, :6, :6], second[:1, :, :6, :6]).sum().backward()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
measure(first, second).sum().backward()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="peak memory is read in KiB, as Linux gives it")
def test_a_gradient_takes_no_more_memory_for_more_images() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 3 * 128  # MiB; the cap is 128, and freed parts wait until they are given back
