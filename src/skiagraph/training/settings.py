"""What a training run is told: every duration and interval is counted in images seen."""

from __future__ import annotations

import dataclasses
import itertools
import math
from dataclasses import dataclass
from typing import Any, Literal

from skiagraph.errors import InputError

__all__ = ["TrainingSettings"]

_FIXED = (
    *("seed", "learning_rate", "warmup", "decay", "decay_reference", "betas", "epsilon", "weight_decay", "clip"),
    *("ema_lengths", "ema_half_life", "ema_ramp", "level_edges"),
)


@dataclass(frozen=True)
class TrainingSettings:
    """Settings of one run of `skiagraph.training.train`.

    Args:
        images: images to see in all (> 0), rounded up to whole batches.
        batch_size: images per optimiser step, summed over all processes (>= 1).
        microbatch: images per forward pass and process (>= 1); None takes a process's whole share at once.
        seed: seed of the run; data order and every draw are functions of it and of the images seen.
        learning_rate: peak learning rate (> 0).
        warmup: images over which the rate rises linearly from 0 (>= 0).
        decay: "constant"; "cosine" to zero at `images`; "inverse_sqrt", rate / sqrt(max(seen / decay_reference, 1)).
        decay_reference: images at which the inverse square root sets in (> 0).
        betas: decay rates of AdamW's moments, each in [0, 1).
        epsilon: AdamW's denominator offset (> 0).
        weight_decay: AdamW's decoupled weight decay (>= 0).
        clip: largest global gradient norm (> 0); None does not clip. The norm before clipping is logged either way.
        patience: consecutive steps with a non-finite loss or gradient that are skipped before the run is given up.
        precision: "float32", "bfloat16" (autocast of the network only) or "auto": bfloat16 where the hardware has it.
        threads: CPU threads per process; None leaves torch's number alone.
        ema_lengths: relative widths sigma_rel of the power-function averages, each in (0, 0.28).
        ema_half_life: half-life in images of a plain exponential average; None keeps none.
        ema_ramp: the half-life never exceeds this share of the images seen so far (> 0).
        prefetch: fetch the next batch in a thread while the network works on the present one.
        log_every: images between two lines of metrics.jsonl (> 0).
        checkpoint_every: images between two checkpoints (> 0).
        snapshot_every: images between two saved snapshots of the power-function averages (> 0); None saves none.
        level_edges: increasing edges of the log-SNR bins of the logged loss; the outermost bins are open.
    """

    images: int
    batch_size: int = 16
    microbatch: int | None = None
    seed: int = 0
    learning_rate: float = 1e-4
    warmup: int = 10_000
    decay: Literal["constant", "cosine", "inverse_sqrt"] = "constant"
    decay_reference: int = 100_000
    betas: tuple[float, float] = (0.9, 0.999)
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip: float | None = 1.0
    patience: int = 10
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int | None = None
    ema_lengths: tuple[float, ...] = (0.05, 0.10)
    ema_half_life: int | None = None
    ema_ramp: float = 0.05
    prefetch: bool = True
    log_every: int = 1_000
    checkpoint_every: int = 10_000
    snapshot_every: int | None = None
    level_edges: tuple[float, ...] = (-8.0, -6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0, 8.0)

    def __post_init__(self) -> None:
        for name in ("images", "batch_size", "learning_rate", "decay_reference", "epsilon", "patience", "ema_ramp"):
            self._need(name, getattr(self, name) > 0, "a number > 0")
        for name in ("log_every", "checkpoint_every"):
            self._need(name, getattr(self, name) > 0, "a number of images > 0")
        for name in ("microbatch", "clip", "threads", "ema_half_life", "snapshot_every"):
            value = getattr(self, name)
            self._need(name, value is None or value > 0, "None or a number > 0")
        for name in ("warmup", "weight_decay", "seed"):
            self._need(name, getattr(self, name) >= 0, "a number >= 0")
        self._need("decay", self.decay in ("constant", "cosine", "inverse_sqrt"), "constant, cosine, inverse_sqrt")
        self._need("precision", self.precision in ("auto", "float32", "bfloat16"), "auto, float32, bfloat16")
        self._need("betas", len(self.betas) == 2 and all(0 <= beta < 1 for beta in self.betas), "two numbers in [0, 1)")
        lengths = self.ema_lengths
        self._need("ema_lengths", all(0 < length < 0.28 for length in lengths), "numbers in (0, 0.28)")
        self._need("ema_lengths", len(set(lengths)) == len(lengths), "different numbers")
        edges = self.level_edges
        increasing = all(low < high for low, high in itertools.pairwise(edges))
        self._need("level_edges", len(edges) > 0 and increasing, "at least one edge, increasing")

    def _need(self, name: str, holds: bool, allowed: str) -> None:
        if not holds:
            raise InputError(f"TrainingSettings.{name}: found {getattr(self, name)!r}, allowed: {allowed}.")

    def learning_rate_at(self, images: int) -> float:
        """Return the learning rate of the step that brings the run to `images` images seen (> 0)."""
        rate = self.learning_rate
        if self.warmup:
            rate *= min(images / self.warmup, 1.0)
        if self.decay == "cosine":
            rate *= 0.5 * (1.0 + math.cos(math.pi * min(images / self.images, 1.0)))
        elif self.decay == "inverse_sqrt":
            rate /= math.sqrt(max(images / self.decay_reference, 1.0))
        return rate

    def trajectory(self) -> dict[str, Any]:
        """Return the settings that a continued run may not change, as plain JSON values.

        Everything else (duration, batch size, intervals, precision, threads) may change between two starts; with
        cosine decay the duration is fixed as well, since the rate depends on it.
        """
        names = _FIXED + (("images",) if self.decay == "cosine" else ())
        values = {name: getattr(self, name) for name in names}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return all settings as a dictionary that JSON can hold."""
        return dataclasses.asdict(self)
