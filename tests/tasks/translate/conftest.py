"""Heads that every test of the room shares."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.tiny_heads import head_folder


@pytest.fixture(scope="session")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return head_folder(tmp_path_factory.mktemp("heads"))
