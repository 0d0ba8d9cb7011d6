"""The demo without network: the phantom stands in for the head, and the page says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.tiny_scans import SCANNER, phantom
from skiagraph.config import read_yaml
from skiagraph.errors import SampleUnavailable
from skiagraph.tasks.reconstruct import demo as module
from skiagraph.tasks.reconstruct import simulated
from skiagraph.tasks.reconstruct.demo import demo, expectation, shipped_prior
from skiagraph.tasks.reconstruct.settings import DemoSettings
from skiagraph.tasks.reconstruct.simulated import draw_mask, simulate_slices, simulate_training_scans


def _unavailable(name: str) -> None:
    raise SampleUnavailable(f"{name}: no registry answers")


@pytest.mark.skipif(not (shipped_prior() / "prior.json").exists(), reason="this checkout ships no prior")
def test_the_demo_runs_on_a_phantom_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "sample_head", _unavailable)
    settings = DemoSettings(slices=1, samples=2, accelerations=[4.0], output=tmp_path / "demo")
    result = demo(settings)
    assert result.source == "a generated phantom"
    assert "phantom stands in" in result.note
    assert "colin27: no registry answers" in result.note
    assert result.record()["note"] == result.note
    left = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert left == ["config.yaml", "report.html", "report.npz", "run.json"]
    page = result.page.read_text()
    assert "phantom stands in" in page
    assert "from simulated k-space" in page
    assert "the best of the others at R = 4" in page
    assert read_yaml(tmp_path / "demo" / "config.yaml")["slices"] == 1
    record = json.loads((tmp_path / "demo" / "run.json").read_text())
    assert (record["source"], record["note"]) == (result.source, result.note)
    figures = {row["method"]: row["psnr_db"] for row in result.rows}
    assert list(figures) == ["zero-filled", "cg-sense", "l1-wavelet", "total-variation", "skiagraph"]
    assert figures["skiagraph"] > figures["zero-filled"] + 3
    assert figures["skiagraph"] > figures["cg-sense"]
    assert result.__rich__() is not None


def test_the_demos_seed_is_that_of_the_acquisition(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Simulated(Exception):
        """Stops the demo where the scan would be simulated, with the seed."""

    def simulate(*_: object, seed: int, **__: object) -> None:
        raise Simulated(seed)

    monkeypatch.setattr(module, "sample_head", lambda _: (phantom(), {}))
    monkeypatch.setattr(module, "simulate_slices", simulate)
    with pytest.raises(Simulated, match=r"^7$"):
        demo(DemoSettings(slices=1, samples=2, accelerations=[4.0], seed=7, output=tmp_path))


def test_the_demos_cost_counts_every_slice_and_rate() -> None:
    cost = expectation(DemoSettings(slices=3, samples=2, accelerations=[4.0, 8.0]))
    assert cost["network_evaluations"] == 3 * 2 * 4 * (2 * 5 + 4)


@pytest.mark.parametrize("kind", ["random", "equispaced", "variable-density"])
def test_a_case_has_one_mask(kind: simulated.MaskFamily) -> None:
    mask = draw_mask(kind, 64, 4.0, 12, 0, "head/1")
    assert torch.equal(mask, draw_mask(kind, 64, 4.0, 12, 0, "head/1"))
    assert bool(mask[26:38].all())
    assert 12 < float(mask.sum()) < 40
    others = [draw_mask(kind, 64, 4.0, 12, 0, f"head/{number}") for number in range(2, 8)]
    assert any(not torch.equal(mask, other) for other in others)
    assert bool(draw_mask("full", 64, 4.0, 12, 0, "head/1").all())


def test_training_scans_do_not_depend_on_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    record = {"name": "phantom", "licence": "none"}
    monkeypatch.setattr(simulated, "sample_head", lambda name: (phantom(), record))
    seen: list[tuple[int, int]] = []
    two, records = simulate_training_scans(
        {"phantom": 2}, acceleration=2.0, centre=12, settings=SCANNER, on_progress=lambda *now: seen.append(now)
    )
    one, _ = simulate_training_scans({"phantom": 1}, acceleration=2.0, centre=12, settings=SCANNER)
    assert (two.names, records, seen) == (("phantom/0", "phantom/1"), [record], [(1, 2), (2, 2)])
    assert torch.equal(two.scan.kspace[:1], one.scan.kspace)
    assert not torch.equal(two.scan.mask[0], two.scan.mask[1])
    assert bool((two.scan.kspace * (1 - two.scan.mask) == 0).all())


def test_truth_is_in_the_unit_of_the_scan() -> None:
    slices = simulate_slices(phantom(), "head", [10.0], kind="full", centre=12, settings=SCANNER)
    kspace = slices.scan.kspace
    images = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(kspace, (-2, -1)), norm="ortho"), (-2, -1))
    combined = images.abs().square().sum(1).sqrt()
    inside = slices.head
    assert float((combined - slices.truth)[inside].norm() / slices.truth[inside].norm()) < 0.05
    assert np.asarray(slices.affines[0]).shape == (4, 4)
