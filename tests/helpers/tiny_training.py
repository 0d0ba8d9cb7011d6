"""A training run of a second: tiny network, tiny data; also a program, so that it can be killed or started twice.

python tests/helpers/tiny_training.py FOLDER IMAGES [--kill-at IMAGES | --kill-in-save IMAGES]
"""

from __future__ import annotations

import argparse
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from skiagraph.training import (
    ObjectiveResult,
    Progress,
    TrainingResult,
    TrainingSettings,
    process_group,
    train,
)

__all__ = ["SETTINGS", "TinyData", "TinyNetwork", "denoise", "lines", "run"]

SETTINGS = TrainingSettings(
    images=480,
    batch_size=8,
    microbatch=3,
    learning_rate=3e-3,
    warmup=40,
    precision="float32",
    threads=1,
    ema_half_life=60,
    log_every=40,
    checkpoint_every=100,
    snapshot_every=60,
    level_edges=(-2.0, 0.0, 2.0),
)


class TinyNetwork(nn.Module):
    """Two convolutions with normalisation (buffers) and, if wanted, dropout (global random state)."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(2, 8, 3, padding=1), nn.SiLU(), nn.Dropout(dropout), nn.Conv2d(8, 1, 3, padding=1)
        )
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor, level: Tensor) -> Tensor:
        """Predict the noise in x (B, 1, H, W) at log-SNR (B,)."""
        self.calls += 1
        channel = level.view(-1, 1, 1, 1).expand_as(x) / 4
        result: Tensor = self.layers(torch.cat([x, channel], dim=1))
        return result


class TinyData:
    """37 smooth images of 8 x 8 pixels."""

    def __len__(self) -> int:
        return 37

    def batch(self, indices: Tensor) -> dict[str, Tensor]:
        """The images at `indices`."""
        axis = torch.linspace(0, 3, 8)
        images = torch.cos(axis[None, :, None] * (indices[:, None, None] % 5) + axis[None, None, :])
        return {"image": images[:, None], "index": indices}


def denoise(network: nn.Module, batch: dict[str, Tensor], streams: Any) -> ObjectiveResult:
    """Mean squared error of the predicted noise."""
    image = batch["image"]
    level = 8 * streams.uniform() - 4
    noise = streams.normal_like(image)
    alpha, sigma = (torch.sigmoid(sign * level).sqrt().view(-1, 1, 1, 1) for sign in (1, -1))
    error = (network(alpha * image + sigma * noise, level) - noise).square().mean((1, 2, 3))
    return ObjectiveResult(error, level, {"noise_power": noise.square().mean((1, 2, 3))})


def run(
    folder: Path,
    *,
    dropout: float = 0.2,
    on_progress: Callable[[Progress], None] | None = None,
    network: nn.Module | None = None,
    **changes: Any,
) -> TrainingResult:
    """Train a fresh tiny network, always the same one, with `SETTINGS` but for `changes`."""
    if network is None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(7)
            network = TinyNetwork(dropout)
    return train(network, denoise, TinyData(), replace(SETTINGS, **changes), folder, on_progress=on_progress)


def lines(folder: Path) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl without what a clock or the machine decides."""
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "memory_gib")} for line in read]


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_in_save(images: int) -> None:
    rename = os.replace

    def replace_or_die(source: Path, target: Path) -> None:
        if f"checkpoint-{images:012d}" in str(target):
            _kill()
        rename(source, target)

    os.replace = replace_or_die  # type: ignore[assignment]


def main() -> None:
    """Run as a program, alone or under torchrun."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("images", type=int)
    parser.add_argument("--dropout", type=float, default=0.2)
    parser.add_argument("--kill-at", type=int)
    parser.add_argument("--kill-in-save", type=int)
    options = parser.parse_args()
    if options.kill_in_save:
        _kill_in_save(options.kill_in_save)

    def progress(now: Progress) -> None:
        if options.kill_at and now.images >= options.kill_at:
            _kill()

    with process_group(torch.device("cpu")):
        run(options.folder, images=options.images, dropout=options.dropout, on_progress=progress)


if __name__ == "__main__":
    main()
