"""Pages without their curves, which would take most of the time of these tests."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def plain_pages(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave curves undrawn, but for the tests in whose name a page stands."""
    if "page" not in request.node.name:
        monkeypatch.setattr("skiagraph.report.page.draw_curve", lambda curve: "<svg></svg>")
