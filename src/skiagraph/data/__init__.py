"""Images, k-space and where they come from: volumes with geometry, raw data files, samples, simulated acquisitions.

Works on numpy arrays; heavy readers are imported only by the functions that need them.
"""

from __future__ import annotations

__all__: list[str] = []
