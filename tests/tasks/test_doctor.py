"""The command `doctor`: it finds what is missing and says what to do."""

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import pytest

from skiagraph.cli import main
from skiagraph.tasks import doctor as module
from skiagraph.tasks.doctor import Check, DoctorResult, DoctorSettings, doctor


def test_everything_needed_here_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    checks = json.loads(capsys.readouterr().out)["checks"]
    assert checks["torch"]["well"]
    assert checks["pydantic"]["found"]
    assert {"processor", "memory", "torch threads", "bfloat16 on the processor", "bart"} <= set(checks)
    assert "package registry" not in checks


def test_a_missing_and_an_old_package_come_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(name: str) -> str:
        if name == "sigpy":
            raise PackageNotFoundError(name)
        return "0.0.1" if name == "torch" else "99.0"

    monkeypatch.setattr(module, "version", found)
    checks = {check.name: check for check in doctor(DoctorSettings()).checks}
    assert not checks["sigpy"].well
    assert "pip install -c constraints.txt 'sigpy" in checks["sigpy"].remedy
    assert not checks["torch"].well
    assert ">=2.6" in checks["torch"].remedy
    assert checks["numpy"].well
    assert "pytest" not in checks


def test_one_bad_finding_makes_the_whole_not_well() -> None:
    assert not DoctorResult((Check("a", "x"), Check("b", "y", False, "do z"))).record()["well"]
