"""How a training run begins: what the loop is told, and a folder that holds this run and no other."""

from __future__ import annotations

import math
from collections.abc import Collection
from pathlib import Path
from typing import Any

from skiagraph.config import Settings, dump_yaml, read_yaml, resolved
from skiagraph.errors import InputError
from skiagraph.tasks.reconstruct.outputs import write_text
from skiagraph.training import TrainingSettings

__all__ = ["FREE", "begin_run", "loop_settings"]

FREE = frozenset({"output", "name", "licence", "images", "threads", "precision", "batch_size", "microbatch", "data"})
FREE |= {"log_every", "checkpoint_every"}
"""Settings that may change when a stopped run goes on."""


def loop_settings(settings: Any, **more: Any) -> TrainingSettings:
    """What the loop is told; the decay per step becomes a half-life in images.

    Args:
        settings: of a command, with images, batch_size, microbatch, seed, learning_rate, warmup, clip, precision,
            threads, ema_decay, log_every and checkpoint_every.
        more: fields of `TrainingSettings` that not every command has.
    """
    half_life = settings.batch_size * math.log(0.5) / math.log(settings.ema_decay)
    return TrainingSettings(
        images=settings.images,
        batch_size=settings.batch_size,
        microbatch=settings.microbatch,
        seed=settings.seed,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        clip=settings.clip,
        precision=settings.precision,
        threads=settings.threads,
        ema_lengths=(),
        ema_half_life=max(1, round(half_life)),
        log_every=settings.log_every or max(settings.batch_size, settings.images // 100),
        checkpoint_every=settings.checkpoint_every or max(settings.batch_size, settings.images // 20),
        **more,
    )


def begin_run(settings: Settings, output: Path, free: Collection[str] = FREE) -> None:
    """Write config.yaml into the run folder; refuse a folder that holds a run which learned something else.

    Args:
        settings: of the run.
        output: its folder.
        free: names of settings that may differ.
    """
    file, wanted = output / "config.yaml", resolved(settings)
    if file.exists():
        found = read_yaml(file)
        shared = [name for name in wanted if name in found and name not in free]
        differ = [name for name in shared if not _alike(found[name], wanted[name])]
        if differ:
            changes = "; ".join(f"{name}: found {wanted[name]!r}, the run has {found[name]!r}" for name in differ)
            raise InputError(f"{output}: holds another run ({changes}); use another folder, or its settings")
    output.mkdir(parents=True, exist_ok=True)
    write_text(file, dump_yaml(settings))


def _alike(found: Any, wanted: Any) -> bool:
    """Whether two settings agree; keys of a section that only one version of the program knows don't count."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        return all(_alike(found[name], wanted[name]) for name in found.keys() & wanted.keys())
    return bool(found == wanted)
