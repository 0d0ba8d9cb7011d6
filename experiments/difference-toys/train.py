"""Train the toy prior of methods/conditional-difference.md, 13.3: 3600 steps, labels only, deliberately short.

python experiments/difference-toys/train.py --kind bright --output runs/difference-toys/bright.safetensors
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from phantoms import KINDS, draw_phantoms
from safetensors.torch import save_file

from skiagraph.diffusion import NetworkDenoiser, linear_table
from skiagraph.networks import UNet, UNetConfig

__all__ = ["CONFIG", "denoiser_of", "train"]

CONFIG = UNetConfig(
    channels=32, multipliers=(1, 2), residual_blocks=1, attention_downsamplings=(2,), heads=2, classes=2
)
IMAGES, STEPS, BATCH = 3000, 3600, 16


def denoiser_of(network: UNet) -> NetworkDenoiser:
    """The toy's denoiser: T = 1000 linear, told the index and a label or an embedding."""
    return NetworkDenoiser(network, linear_table(), accepts=frozenset({"label", "embedding"}))


def train(kind: str, steps: int = STEPS) -> tuple[UNet, list[float]]:
    """The averaged network, and the mean loss of every 200 steps."""
    random = np.random.RandomState(1)
    labels = random.randint(0, 2, IMAGES)
    data = draw_phantoms(random, labels, kind)
    images, marks = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    torch.manual_seed(0)
    network, average = UNet(CONFIG), UNet(CONFIG)
    average.load_state_dict(network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=4e-4, weight_decay=0.01)
    table, losses, recent = linear_table(), [], []
    for step in range(steps):
        chosen = torch.from_numpy(random.randint(0, IMAGES, BATCH))
        flips = [axis for axis, coin in zip((-1, -2), random.randint(0, 2, 2), strict=True) if coin]
        clean = images[chosen].flip(flips) if flips else images[chosen]
        t = torch.randint(0, 1000, (BATCH,))
        noise = torch.randn_like(clean)
        alpha, sigma = (value.float().reshape(-1, 1, 1, 1) for value in table(t))
        loss = (network(alpha * clean + sigma * noise, t.float(), marks[chosen]) - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for kept, new in zip(average.parameters(), network.parameters(), strict=True):
                kept.lerp_(new, 1 - decay)
        recent.append(float(loss.detach()))
        if len(recent) == 200:
            losses.append(sum(recent) / 200)
            recent = []
            print(f"step {step + 1}: loss {losses[-1]:.4f}", flush=True)
    return average.eval().requires_grad_(False), losses


def main() -> None:
    """Train and write the averaged weights."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", choices=KINDS, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    started = time.perf_counter()
    network, _ = train(arguments.kind)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), str(arguments.output))
    print(f"{time.perf_counter() - started:.0f} s, {arguments.output}")


if __name__ == "__main__":
    main()
