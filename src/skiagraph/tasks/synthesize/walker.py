"""One batch on its way: noise or images in, images out, with what happened to each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from skiagraph.diffusion import Streams, final, perturb, trajectory
from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.guidance import Energy, Evidence, Tally, measure
from skiagraph.diffusion.inversion import inverting
from skiagraph.tasks.synthesize.drawn import Drawn, OnStep, Start, to_bytes
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.presets import cfg_in_second_stage, truncates

if TYPE_CHECKING:
    from skiagraph.tasks.synthesize.recipe import Recipe

__all__ = ["Walker"]


class Walker:
    """One batch on its way."""

    def __init__(self, recipe: Recipe, items: Sequence[Item], on_step: OnStep) -> None:
        self.recipe, self.items, self.on_step = recipe, items, on_step
        self.kit, self.settings = recipe.kit, recipe.settings
        device = self.kit.device
        self.label = torch.tensor([item.label for item in items], device=device)
        self.streams = Streams([item.seed for item in items], device, portable=True)
        self.tally, self.evidence, self.classifier_calls = Tally(), Evidence(), 0

    def lead(self, sources: Tensor | None) -> Start:
        """Come to the state from which images are pushed; the same for every scale."""
        before: Tensor | None = None
        has = [True] * len(self.items)
        plain = self._plain()
        if self.settings.mode == "noise":
            state = self._noise()
            before, has = self._twins(state)
        elif self.settings.mode == "two-stage":
            before, state = self._first_stage(plain)
        else:
            assert sources is not None
            before = sources.to(self.kit.device, torch.float32)
            given = [item.label if item.source_label is None else item.source_label for item in self.items]
            sources_of = torch.tensor(given, device=self.kit.device)
            state = self._encode(plain, before, sources_of)
        calls = (self.tally.samples // len(self.items), self.classifier_calls)
        return Start(state, before, tuple(has), self.streams.state(), calls)

    def push(self, start: Start) -> Drawn:
        """Walk down from there, pushed."""
        self.streams.restore(start.streams)
        self.tally = Tally()
        images = self._down(self.recipe.pushed(self._plain(), self.evidence), start.state, self.recipe.down)
        none = torch.zeros(len(self.items))
        pushed = bool(self.evidence.steps)
        return Drawn(
            images.to("cpu", torch.float32),
            None if start.before is None else start.before.to("cpu", torch.float32),
            start.has_before,
            self.evidence.limited.float() if pushed else none,
            self.evidence.outside.float() if pushed else none,
            start.calls[0] + self.tally.samples // len(self.items),
            start.calls[1] + self.evidence.calls,
            tuple(item.seed for item in self.items),
        )

    def _plain(self) -> Denoiser:
        cfg = cfg_in_second_stage(self.settings) or self.settings.mode == "noise"
        return self.recipe.plain(self.tally, cfg)

    def _noise(self) -> Tensor:
        return self.streams.normal(*self.kit.shape)

    def _down(self, denoiser: Denoiser, state: Tensor, times: Tensor) -> Tensor:
        cond = {"label": self.label}
        for step in trajectory(denoiser, state, times, self.recipe.rule, cond=cond, streams=self.streams):
            state = step.x
            self.on_step(len(self.items))
        return state

    def _twins(self, state: Tensor) -> tuple[Tensor | None, list[bool]]:
        """Unpushed images from the same noise, of the items that want one; they are counted apart."""
        has = [item.twin and self.recipe.pushes for item in self.items]
        chosen = [place for place, wanted in enumerate(has) if wanted]
        if not chosen:
            return None, has
        plain = self.recipe.clipped(self.recipe.plain(Tally(), True))
        streams = self.streams.select(chosen)
        steps = trajectory(
            *(plain, state[chosen], self.recipe.times, self.recipe.rule),
            cond={"label": self.label[chosen]},
            streams=streams,
        )
        before = torch.zeros_like(state)
        before[chosen] = final(steps)
        return before, has

    def _first_stage(self, plain: Denoiser) -> tuple[Tensor, Tensor]:
        """(image of the first stage, state from which it is hardened)."""
        cfg = self.recipe.clipped(self.recipe.plain(self.tally, True))
        first_evidence = Evidence()
        if self.settings.first_scale > 0:
            term = self.recipe.term(measure("log_prob"))
            cfg = Energy(
                cfg,
                term,
                self.settings.first_scale,
                through=self.settings.guide.through or "state",
                observe=first_evidence,
            )
        state, start = self._noise(), float(self.recipe.down[0])
        latent = state
        for step in trajectory(
            cfg, state, self.recipe.times, self.recipe.rule, cond={"label": self.label}, streams=self.streams
        ):
            state = step.x
            self.on_step(len(self.items))
            if float(step.s) == start:
                latent = state
        self.classifier_calls += first_evidence.calls
        image = state
        if self.settings.walk.handover == "latent":
            return image, latent
        read = image
        if self.settings.walk.handover == "8-bit":
            read = to_bytes(image, truncates(self.settings)).to(image.dtype) / 127.5 - 1
        return image, self._encode(plain, read, self.label)

    def _encode(self, plain: Denoiser, images: Tensor, labels: Tensor) -> Tensor:
        walk, state = self.settings.walk, images
        if walk.inversion == "noised":
            return perturb(self.kit.table, images, self.recipe.down[0], self.streams.normal_like(images))
        for step in inverting(
            plain, images, self.recipe.times, walk.inversion or "mirrored", {"label": labels}, walk.depth
        ):
            state = step.x
            self.on_step(len(self.items))
        return state
