"""Local mutual information of two images: the released layer with its faults, and one that does what its name says.

Method: Wang et al., IEEE TMI 2024, DOI 10.1109/TMI.2024.3382043. Each voxel's patch of the reference image is compared
with several windows of the searched image, by the mutual information of a soft joint histogram of the paired values.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from skiagraph.similarity.bins import Bins
from skiagraph.similarity.interface import check_images, check_mask
from skiagraph.similarity.slabs import Plan, compute_map
from skiagraph.similarity.windows import Boundary, WindowKind

__all__ = ["LocalInformation", "Reduction", "local_mutual_information"]

Reduction = Literal["maximum", "soft"]
_GREY_LEVELS = 255.0


@dataclass(frozen=True)
class LocalInformation:
    """Local mutual information as a map; the fields are the default form in 2-D, `reference()` is the released one.

    Args:
        patch: odd side of a patch in voxels, or one per axis.
        bins: number of bins over the value range.
        width: kernel width h as a share of the value range.
        value_range: intensities of the outermost bins.
        windows: "shifted": the patches at every offset up to `radius` along each axis; "tiled": the released windows
            (see `tiled_list`), patch ** dimensions of them.
        radius: largest offset of shifted windows, or one per axis.
        reduce: over windows: "maximum", or "soft": tau log mean exp(I / tau), smooth, for energies.
        temperature: tau of "soft", in the unit of the map.
        normalise: 2 I / (H(u) + H(v)) in [0, 1] rather than bits.
        boundary: what lies outside the image: its edge repeated, or intensity 0.
        quantise: truncate 255 v toward zero first, as the released layer; no gradient passes then.
        clamp: cut both images to the value range first: for conditions, not for energies, whose gradient it kills.
        balanced: weights of a value sum to 1, so that the marginals are those of the joint histogram; otherwise the
            released kernel, which fades outside the value range.
        debias: subtract the value of the window with its voxels in another, fixed order.
        memory: bytes that intermediate arrays may take; any cap gives the same map.

    Differs from the released layer (`reference()`) in that no value can saturate the map, windows are true shifts, the
    map is symmetric in its arguments for radius 0, and it can be differentiated.
    """

    patch: int | tuple[int, ...] = 5
    bins: int = 32
    width: float = 1 / 31
    value_range: tuple[float, float] = (0.0, 1.0)
    windows: WindowKind = "shifted"
    radius: int | tuple[int, ...] = 1
    reduce: Reduction = "maximum"
    temperature: float = 0.05
    normalise: bool = True
    boundary: Boundary = "replicate"
    quantise: bool = False
    clamp: bool = True
    balanced: bool = True
    debias: bool = False
    memory: int = 128 * 2**20

    def __post_init__(self) -> None:
        for name, kinds in (("windows", WindowKind), ("reduce", Reduction), ("boundary", Boundary)):
            if getattr(self, name) not in get_args(kinds):
                raise ValueError(f"{name}: found {getattr(self, name)!r}; allowed are {get_args(kinds)}.")
        if any(side < 1 or side % 2 == 0 for side in _sides(self.patch)):
            raise ValueError(f"patch: found {self.patch}; allowed are odd sides, so that a patch has a middle.")
        if any(side < 0 for side in _sides(self.radius)):
            raise ValueError(f"radius: found {self.radius}; allowed at least 0.")
        if not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature: found {self.temperature}; allowed a finite number > 0.")
        if self.memory < 2**20:
            raise ValueError(f"memory: found {self.memory} bytes; allowed at least 1 MiB, {2**20}.")
        if self.windows == "tiled" and (not isinstance(self.patch, int) or self.patch not in (3, 5)):
            raise ValueError(f"patch: found {self.patch}; the released windows (windows='tiled') have side 3 or 5.")
        if self.quantise and tuple(self.value_range) != (0.0, 1.0):
            raise ValueError(f"value_range: found {self.value_range}; quantise=True takes (0.0, 1.0) only.")
        if not self.value_range[0] < self.value_range[1]:
            raise ValueError(f"value_range: found {self.value_range}; allowed are (lowest, highest).")
        self._histogram()

    @classmethod
    def reference(
        cls, patch: int = 3, sigma: float = 2.0, normalise: bool = True, memory: int = 128 * 2**20
    ) -> LocalInformation:
        """The released layer at any size and batch, faults included.

        patch ** 3 bins on 0 ... 255, kernel width 2 sigma^2 grey levels, values truncated and not clamped (patches far
        outside the range saturate at the largest value), tiled windows, zero padding.

        Args:
            patch: 3 or 5.
            sigma: the released `MIsigma`, which enters squared.
            normalise: the released training always normalises; four of its five sampling configurations don't.
            memory: bytes that intermediate arrays may take (released: 1.9 GB for 128 x 128).
        """
        if not 0 < sigma < math.inf:
            raise ValueError(f"sigma: found {sigma}; allowed a finite number > 0.")
        return cls(
            patch=patch, bins=patch**3, width=2 * sigma**2 / _GREY_LEVELS, windows="tiled", normalise=normalise,
            boundary="zero", quantise=True, clamp=False, balanced=False, memory=memory,
        )  # fmt: skip

    @classmethod
    def default(cls, dimensions: int = 2, *, energy: bool = False) -> LocalInformation:
        """The corrected form for 2-D (5 x 5) or 3-D (3 x 5 x 5, the first axis through slices) images.

        Args:
            dimensions: 2 or 3.
            energy: unclamped and with the soft maximum, to be differentiated.
        """
        if dimensions not in (2, 3):
            raise ValueError(f"dimensions: found {dimensions}; allowed are 2 and 3.")
        patch = 5 if dimensions == 2 else (3, 5, 5)
        return cls(patch=patch, clamp=not energy, reduce="soft" if energy else "maximum")

    @property
    def has_gradient(self) -> bool:
        """False for the released layer, which truncates."""
        return not self.quantise

    @property
    def range(self) -> tuple[float, float]:
        """Values a map can have; with the released kernel 2 is what empty histograms give, and bits can be negative."""
        if self.debias:
            return (-1.0, 1.0) if self.normalise else (-math.log2(self.bins), math.log2(self.bins))
        if self.balanced:
            return (0.0, 1.0) if self.normalise else (0.0, math.log2(self.bins))
        return (0.0, 2.0) if self.normalise else (0.0, math.log2(self.bins))

    def channels(self, dimensions: int) -> int:
        """One."""
        return 1

    def __call__(self, reference: Tensor, search: Tensor, mask: Tensor | None = None) -> Tensor:
        """Map (B, 1, *S), the largest (or soft largest) information over windows; 0 outside the mask.

        Args:
            reference: (B, 1, *S) with 2 or 3 spatial axes, in the value range; its patches are compared.
            search: (B, 1, *S), whose windows are searched. Both are left as they are.
            mask: (B or 1, 1, *S), true where the map is wanted.

        float32 at least; half-precision images are computed in float32.
        """
        check_images(reference, search, _sides(self.patch))
        chosen = check_mask(mask, reference)
        dtype = reference.dtype if reference.dtype == torch.float64 else torch.float32
        plan = self._plan(tuple(reference.shape[2:]))
        first, second = self._values(reference.to(dtype)), self._values(search.to(dtype))
        if self.quantise:
            first, second = first.detach(), second.detach()
        values = compute_map(plan, first.squeeze(1), second.squeeze(1), None if chosen is None else chosen.squeeze(1))
        return values.unsqueeze(1).to(reference.dtype)

    def _values(self, image: Tensor) -> Tensor:
        if self.quantise:
            return torch.trunc(image * _GREY_LEVELS)
        return image.clamp(*self.value_range) if self.clamp else image

    def _histogram(self) -> Bins:
        low, high = (0.0, _GREY_LEVELS) if self.quantise else self.value_range
        return Bins(self.bins, self.width * (high - low), low, high, self.balanced)

    def _plan(self, shape: tuple[int, ...]) -> Plan:
        patch, radius = (
            _each(value, len(shape), name) for value, name in ((self.patch, "patch"), (self.radius, "radius"))
        )
        temperature = self.temperature if self.reduce == "soft" else None
        floor = 0.0 if self.balanced else 1e-10
        return Plan(
            shape, self._histogram(), patch, radius, self.windows, self.boundary, floor, self.normalise, temperature,
            self.debias, self.memory,
        )  # fmt: skip


def _sides(value: int | tuple[int, ...]) -> tuple[int, ...]:
    return (value,) if isinstance(value, int) else tuple(value)


def _each(value: int | tuple[int, ...], dimensions: int, name: str) -> tuple[int, ...]:
    sides = _sides(value)
    if len(sides) not in (1, dimensions):
        raise ValueError(f"{name}: found {value} for {dimensions} spatial axes; allowed is one number or one per axis.")
    return sides * dimensions if len(sides) == 1 else sides


def local_mutual_information(
    reference: Tensor, search: Tensor, options: LocalInformation | None = None, *, mask: Tensor | None = None
) -> Tensor:
    """Map (B, 1, *S) of local mutual information; without options the default form for the images' dimension.

    Args:
        reference: (B, 1, *S), whose patches are compared.
        search: (B, 1, *S), whose windows are searched.
        options: `LocalInformation.reference()`, `LocalInformation.default(...)` or any other.
        mask: (B or 1, 1, *S), true where the map is wanted.
    """
    chosen = LocalInformation.default(reference.ndim - 2) if options is None else options
    return chosen(reference, search, mask)
