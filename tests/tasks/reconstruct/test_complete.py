"""Scans completed by posterior samples, and a prior that learns from them."""

from __future__ import annotations

from pathlib import Path

import torch

from helpers.tiny_scans import NETWORK, prepared
from skiagraph.tasks.reconstruct.complete import complete_scans
from skiagraph.tasks.reconstruct.network import load_prior
from skiagraph.tasks.reconstruct.settings import ObjectiveSettings, TrainSettings
from skiagraph.tasks.reconstruct.train import train_prior


def test_measured_lines_stay_and_the_others_are_filled(prior_folder: Path) -> None:
    scan, seen = prepared(), []
    filled = complete_scans(scan, prior_folder, steps=2, on_progress=lambda *now: seen.append(now))
    assert torch.equal(filled.mask, torch.ones_like(scan.mask))
    assert torch.equal(scan.mask * filled.kspace, scan.mask * scan.kspace)
    missing = (1 - scan.mask) * filled.kspace
    assert (missing.flatten(1).abs().sum(1) > 0).all()
    assert torch.equal(filled.maps, scan.maps)
    assert seen == [(2, 2)]
    again = complete_scans(scan, prior_folder, steps=2)
    assert torch.equal(filled.kspace, again.kspace)
    assert not torch.equal(filled.kspace, complete_scans(scan, prior_folder, steps=2, seed=1).kspace)


def test_a_round_trains_further_and_the_prior_says_so(scan_file: Path, prior_folder: Path, tmp_path: Path) -> None:
    result = train_prior(
        TrainSettings(
            data=[scan_file],
            start=prior_folder,
            complete=prior_folder,
            network=NETWORK,
            objective=ObjectiveSettings(rows=None, alone=0.5),
            output=tmp_path / "round",
            images=4,
            warmup=4,
            ema_half_life=4,
            precision="float32",
        )
    )
    _, record = load_prior(result.prior)
    assert "learned from undersampled scans, one fixed mask each" in record.summary
    assert "filled by samples of the prior 'prior'" in record.summary
    assert "Training started from the weights of the prior 'prior'" in record.summary
    _, first = load_prior(prior_folder)
    assert record.summary.endswith(f"(prior: {first.summary})")
    assert "undersampled scans alone" in first.summary
    assert first.training.command == "skiagraph train --config config.yaml"
    assert (prior_folder / "config.yaml").exists()
