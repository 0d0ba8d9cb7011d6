"""How one batch of images is drawn: which denoiser is wrapped in which guidance, walked on which levels.

from noise:  Energy(Clip(CFG(net))) down the whole grid
harden:      CFG(net) up to a depth, Energy(Clip(CFG(net))) down from there
two-stage:   CFG(net) down the whole grid, keeping the state at that depth; then Energy(...) down from there again
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor

from skiagraph.diffusion import DDIM, Heun
from skiagraph.diffusion.denoiser import Denoiser
from skiagraph.diffusion.guidance import (
    ClassifierFree,
    ClassifierTerm,
    Clip,
    Counted,
    DynamicThreshold,
    Energy,
    Every,
    Evidence,
    LabelFlipWarning,
    Tally,
    label_flip_risks,
)
from skiagraph.diffusion.guidance.measures import Measure
from skiagraph.diffusion.inversion import inversion_times
from skiagraph.errors import InputError
from skiagraph.tasks.synthesize.candidates import best_of
from skiagraph.tasks.synthesize.drawn import Drawn, OnStep, Start
from skiagraph.tasks.synthesize.kit import Kit, ensemble
from skiagraph.tasks.synthesize.levels import chosen_measure, walk_times
from skiagraph.tasks.synthesize.plan import Item
from skiagraph.tasks.synthesize.presets import cfg_in_second_stage
from skiagraph.tasks.synthesize.settings import SynthesizeSettings
from skiagraph.tasks.synthesize.walker import Walker

__all__ = ["Recipe"]


class Recipe:
    """Draws batches as filled settings say.

    Args:
        kit: what is loaded.
        settings: filled settings.
        own: a measure of the caller's own, (logits, labels) -> (B,), in place of that of the settings.

    Raises InputError at once for levels the prior was not trained at, a measure without a classifier, and the like.
    """

    def __init__(self, kit: Kit, settings: SynthesizeSettings, own: Measure | None = None) -> None:
        self.kit, self.settings = kit, settings
        walk, guide = settings.walk, settings.guide
        self.measure = own or chosen_measure(settings)
        self.scale = float(guide.scale or 0.0) if self.measure is not None else 0.0
        if self.measure is not None and not kit.guides:
            raise InputError(
                f"classifier: none was given, but guide.measure {guide.measure!r} asks one; give the folder of a "
                "classifier (`skiagraph train noisy-classifier`), or set guide.measure to none"
            )
        if self.measure is None and settings.candidates > 1:
            raise InputError(
                f"candidates: found {settings.candidates}, of which the one of the highest measure is kept, but "
                "guide.measure is none; name a measure (with guide.scale 0 nothing is pushed)"
            )
        self.times = walk_times(kit, settings)
        self.rule = Heun() if walk.inversion == "heun" else DDIM(float(walk.eta or 0.0))
        if walk.inversion == "heun" and walk.eta:
            raise InputError("walk.eta has no effect with walk.inversion heun, which draws no noise; leave it out")
        self.up, self.down = self._stretches()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", LabelFlipWarning)  # told by `warnings` below, with everything else
            multiply = bool(guide.multiply)
            self.every = Every.of(guide.every or 1, kit.table, self.times, multiply) if (guide.every or 1) > 1 else None

    def _stretches(self) -> tuple[Tensor, Tensor]:
        """Times of the inversion, and of the way down from where it ends; of images from noise the whole walk."""
        walk = self.settings.walk
        if self.settings.mode == "noise":
            return self.times[:0], self.times
        mode = walk.inversion or "mirrored"
        try:
            if mode == "noised":
                return self.times[:0], inversion_times(self.kit.table, self.times, "mirrored", walk.depth)[1]
            return inversion_times(self.kit.table, self.times, mode, walk.depth)
        except ValueError as error:
            raise InputError(f"walk.depth: {error}") from None

    @property
    def pushes(self) -> bool:
        """Whether anything is pushed."""
        return self.scale > 0

    def risks(self) -> tuple[str, ...]:
        """Reasons why this walk may lose labels, and measures that vanish on confident images, as sentences."""
        told: list[str] = []
        if self.pushes:
            told += label_flip_risks(self.kit.table, self.times, self._trust(), self.every)
        vanishing = ("entropy", "entropy_normalised", "margin", "least_confidence")
        if self.pushes and self.settings.first_scale > 0 and self.settings.guide.measure in vanishing:
            told.append(
                f"the first stage makes images that the classifier is sure of, where {self.settings.guide.measure} has "
                "no gradient: it works against the second stage. Set first_scale to 0, or take log_odds_target."
            )
        low = (self.settings.guide.window or (0.0, 1.0))[0]
        if self.pushes and low > 0:
            told.append(f"guide.window leaves out sigma^2 below {low:g}, on which the effect depends; expect none.")
        return tuple(told)

    def calls(self) -> dict[str, int]:
        """Evaluations of the prior's network and of the classifier for one image, counted from the levels."""
        twice = 2 if self.settings.cfg != 0 else 1
        second = twice if cfg_in_second_stage(self.settings) or self.settings.mode == "noise" else 1
        heun = isinstance(self.rule, Heun)
        down = self._evaluations(self.down, heun)
        network, classifier = second * down, self._guided(heun) if self.pushes else 0
        if self.settings.mode == "two-stage":
            network += twice * self._evaluations(self.times, heun)
        if self.inverts and len(self.up):
            network += second * self._evaluations(self.up, heun)
        if self.settings.first_scale > 0:
            classifier += len(self.times) - 1
        times = self.settings.candidates
        return {"network": times * network, "classifier": times * classifier}

    def steps(self) -> tuple[int, int, int]:
        """Steps of the first stage, of the inversion and of the way down."""
        first = len(self.times) - 1 if self.settings.mode == "two-stage" else 0
        down = self.settings.candidates * (len(self.down) - 1)
        return first, max(len(self.up) - 1, 0) if self.inverts else 0, down

    @property
    def inverts(self) -> bool:
        """Whether images are led up to noise before they are pushed."""
        return self.settings.mode == "harden" or self.settings.walk.handover in ("image", "8-bit")

    @staticmethod
    def _evaluations(times: Tensor, heun: bool) -> int:
        steps = len(times) - 1
        return 2 * steps - 1 if heun else steps

    def _guided(self, heun: bool) -> int:
        alpha, sigma = self.kit.table(self.down[:-1])
        low, high = self.settings.guide.window or (0.0, 1.0)
        share = sigma**2 / (alpha**2 + sigma**2)
        acts = (share >= low) & (share <= high)
        if self.every is not None:
            acts = acts & self.every.acts(self.down[:-1])
        return int(acts.sum()) * 2 - int(acts[0]) if heun else int(acts.sum())  # Heun sees all but the first twice

    def _trust(self) -> float:
        return self.settings.guide.trust or math.inf

    def plain(self, tally: Tally, cfg: bool) -> Denoiser:
        """The network, counted, under classifier-free guidance where wanted."""
        base: Denoiser = Counted(self.kit.base, tally)
        if self.settings.cfg == 0 or not cfg:
            return base
        return ClassifierFree.beyond(base, self.settings.cfg, null={"label": torch.tensor(-1)}, batched=True)

    def clipped(self, base: Denoiser) -> Denoiser:
        """The denoiser with estimates kept in the data's range, where wanted."""
        return Clip(base) if self.settings.walk.clip else base

    def term(self, measure: Measure) -> ClassifierTerm:
        """A measure of the guiding classifiers' opinion."""
        logits = ensemble(self.kit.guides)
        if self.settings.guide.through == "state":
            return ClassifierTerm(logits, measure)
        return ClassifierTerm(lambda x0: logits(x0, x0.new_zeros(len(x0))), measure, on="x0")

    def pushed(self, base: Denoiser, evidence: Evidence) -> Denoiser:
        """The denoiser that pushes: CFG first, then the clip, then the measure."""
        guide, inner = self.settings.guide, self.clipped(base)
        if self.measure is None or not self.pushes:
            return inner
        outer: Denoiser = Energy(
            inner,
            self.term(self.measure),
            self.scale,
            through=guide.through or "state",
            interval=guide.window or (0.0, 1.0),
            trust=self._trust(),
            normalised=bool(guide.normalised),
            every=self.every,
            until=math.inf if guide.stop_at is None else guide.stop_at,
            observe=evidence,
        )
        if self.settings.walk.threshold is not None:
            return DynamicThreshold(outer, self.settings.walk.threshold)
        return Clip(outer) if self.settings.walk.reclip else outer

    def draw(self, items: Sequence[Item], sources: Tensor | None = None, on_step: OnStep | None = None) -> Drawn:
        """Draw a batch; each image is a function of its own item and source, never of its batch.

        Args:
            items: what to draw.
            sources: (B, C, H, W) images in [-1, 1] that are hardened; None from noise.
            on_step: called after each step with the images it advanced.
        """
        if self.settings.candidates > 1:
            return best_of(self, items, self.settings.candidates, on_step)
        return self.one(items, sources, on_step)

    def one(self, items: Sequence[Item], sources: Tensor | None = None, on_step: OnStep | None = None) -> Drawn:
        """Draw each image once, whatever the candidates."""
        return self.push(items, self.lead(items, sources, on_step), on_step)

    def lead(self, items: Sequence[Item], sources: Tensor | None = None, on_step: OnStep | None = None) -> Start:
        """The first part of `draw`, up to where the push begins: the same at every scale of it."""
        return Walker(self, items, on_step or (lambda images: None)).lead(sources)

    def push(self, items: Sequence[Item], start: Start, on_step: OnStep | None = None) -> Drawn:
        """The second part of `draw`."""
        return Walker(self, items, on_step or (lambda images: None)).push(start)
