"""`python -m skiagraph` is the command line."""

from __future__ import annotations

import sys

from skiagraph.cli import main

__all__: list[str] = []

sys.exit(main())
