"""Priors with an ordinary U-Net, trained here or imported: what they saw, and the denoisers made of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from skiagraph.config import describe_errors
from skiagraph.diffusion.denoiser import EMPTY, Condition, Denoiser, NetworkDenoiser, Prediction
from skiagraph.diffusion.schedule import DiscreteTable, Schedule
from skiagraph.diffusion.streams import Streams
from skiagraph.errors import InputError
from skiagraph.physics.masks import CoveringFamily, MaskProfile, mask_profile
from skiagraph.physics.operator import LinearOperator
from skiagraph.tasks.measurement.masks import MaskBank, mask_family
from skiagraph.tasks.measurement.settings import COLUMNS, MaskSettings, Precision
from skiagraph.training.calculus import build_schedule
from skiagraph.training.precision import NetworkPrecision, resolve_precision
from skiagraph.training.prior import Prior
from skiagraph.training.record import PriorRecord

__all__ = ["ImagePrior", "MaskedDenoiser", "load_image_prior"]

MASK_CHANNEL = "mask"
PARTS = ("real", "imaginary")
EXAMPLES = 256


@dataclass(frozen=True, eq=False)
class MaskedDenoiser:
    """An image denoiser as partial denoiser of the full measurement: x0_hat from u = T^H M z_t.

    Args:
        denoiser: E[x_0 | x_t] of images.
        operator: T, image -> full measurement.
        sees_mask: the denoiser has the mask, spread over the image, as condition "mask".
    """

    denoiser: Denoiser
    operator: LinearOperator
    sees_mask: bool = False

    @property
    def schedule(self) -> Schedule:
        """The denoiser's schedule."""
        return self.denoiser.schedule

    def __call__(self, x: Tensor, t: Tensor, mask: Tensor, cond: Condition = EMPTY) -> Prediction:
        """Image estimate from the masked part of the measurement x (B w, ...), w views an item side by side."""
        kept = mask.to(x.dtype.to_real() if x.is_complex() else x.dtype)
        seen = kept * x
        operator, items = self.operator, getattr(getattr(self.operator, "maps", None), "shape", (1,))[0]
        if items not in (1, x.shape[0]):
            operator = operator.repeated(x.shape[0] // items)
        u = operator.adjoint(seen)
        named = {MASK_CHANNEL: kept.expand(u.shape[0], 1, *u.shape[2:])} if self.sees_mask else EMPTY
        return self.denoiser(u, t, named or cond)


@dataclass(frozen=True, eq=False)
class ImagePrior:
    """A loaded prior and how it is to be used.

    Args:
        network: on its device, computing in the wanted number format.
        record: what prior.json says.
        mask: family of the masks that it was trained on; None for one that saw whole images.
        bank: the training data's own masks, where the prior keeps them.
        device: where the network is.
        warnings: what a reader must know.
    """

    network: Any
    record: PriorRecord
    mask: MaskSettings | None
    bank: MaskBank | None
    device: torch.device
    warnings: tuple[str, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.record.size[0], self.record.size[-1]

    @property
    def channels(self) -> int:
        """Channels of the image."""
        return len(self.record.channels)

    @property
    def complex_images(self) -> bool:
        """Whether the channels are the real and the imaginary part of one image."""
        named = tuple(channel.name for channel in self.record.channels) == PARTS
        return named or (self.mask is not None and self.mask.family in COLUMNS)

    @property
    def profile(self) -> MaskProfile | None:
        """What the columns look like that the prior learned from; None for other masks."""
        own = self.bank is not None and self.complex_images and self.bank.masks.shape[-2] == 1
        if self.mask is None or not (self.mask.family in COLUMNS or (self.mask.family == "own" and own)):
            return None
        return mask_profile(self.family.draw(Streams(range(EXAMPLES))))

    @property
    def family(self) -> CoveringFamily:
        """The family of the training masks."""
        if self.mask is None:
            raise InputError(f"prior: {self.record.name!r} saw whole images; it has no masks")
        return mask_family(self.mask, self.size, self.bank)

    def table(self, steps: str) -> DiscreteTable:
        """The prior's own noise levels, respaced for sampling."""
        if self.record.schedule is None:
            raise InputError(f"prior: {self.record.name!r} states no schedule; import it again")
        schedule = build_schedule(self.record.schedule)
        if not isinstance(schedule, DiscreteTable):
            raise InputError(f"prior: {self.record.name!r} has a continuous schedule; a table of levels is needed here")
        try:
            return schedule.respaced(steps)
        except ValueError as error:
            raise InputError(str(error)) from None

    def denoiser(self, schedule: Schedule) -> NetworkDenoiser:
        """E[x_0 | x_t] on a (respaced) schedule."""
        return Prior(self.network, self.record).denoiser(schedule)

    def partial(self, schedule: Schedule, operator: LinearOperator) -> MaskedDenoiser:
        """The prior as partial denoiser of full measurements."""
        return MaskedDenoiser(self.denoiser(schedule), operator, MASK_CHANNEL in self.record.concatenated)


def load_image_prior(
    folder: Path, mask: MaskSettings | None = None, precision: Precision = "auto", device: torch.device | None = None
) -> ImagePrior:
    """Load a prior for images; one made for another way of calling is refused.

    Args:
        folder: the prior folder.
        mask: family of its training masks, for imported weights that do not say; refused where the prior says.
        precision: number format of the network.
        device: default the first GPU, or the CPU.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    prior = Prior.load(folder, device=device)
    record = prior.record
    if record.parametrisation == "own" or len(record.size) != 2 or record.classes:
        kind = f"kind {record.architecture.kind!r}, {len(record.size)} axes, {len(record.classes)} classes"
        raise InputError(f"prior: {folder} is a network of {kind}; {_what_instead(record)}")
    stated = _stated_mask(record)
    if mask is not None and stated is not None and stated != mask:
        raise InputError(
            f"mask: found {_words(mask)}, but the prior {record.name!r} learned from {_words(stated)}; leave it out"
        )
    bank = record.extra.get("mask_bank")
    chosen = stated or (mask if mask is not None and mask.family != "none" else None)
    return ImagePrior(
        NetworkPrecision(prior.network, resolve_precision(precision, device)),
        record,
        chosen,
        MaskBank.from_record(bank) if isinstance(bank, dict) else None,
        device,
        tuple(_weight_warnings(record)),
    )


def _what_instead(record: PriorRecord) -> str:
    if record.classes:
        return "it draws images of a class; use `skiagraph synthesize`"
    if record.parametrisation == "own" and record.measurement is not None:
        return (
            "it was taught to fill in the lines of a scan from those that were acquired, through the scan's own coil "
            "maps, not to draw images from nothing. Use it with `skiagraph reconstruct`; to draw images, train a prior "
            "with `skiagraph train measurement-score --kind k-space` on the same scans"
        )
    return "unconditional 2-D image priors are needed here"


def _stated_mask(record: PriorRecord) -> MaskSettings | None:
    if record.measurement is None:
        return None
    values = record.measurement.settings.get("mask")
    try:
        return MaskSettings.model_validate(values)
    except ValidationError as error:
        raise describe_errors(
            error, MaskSettings, f"prior.json of {record.name!r}: measurement.settings.mask"
        ) from None


def _words(mask: MaskSettings) -> str:
    return ", ".join(f"{name} {value}" for name, value in mask.model_dump(exclude_none=True).items())


def _weight_warnings(record: PriorRecord) -> list[str]:
    """Say so where the weights are not, or may not be, the averaged ones."""
    stored = str(record.extra.get("weights_in_file", ""))
    if stored.startswith("no average"):
        return [
            "The imported weights are, by the name of their file, not the averaged ones (ema_...); averaged weights "
            "make visibly better images. Import that file if there is one."
        ]
    if record.training.ema.kind == "none" and not stored:
        return ["The prior's weights are not an average over training; expect noisier images."]
    return []
