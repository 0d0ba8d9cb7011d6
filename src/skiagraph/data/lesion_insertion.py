"""Brains with and without inserted lesions: anatomy moved and bent, lesions placed, signals mixed, shaded and noised.

Real or averaged anatomy with a computed signal and a computed lesion: an "inserted lesion", never to be called a scan.
Cases without a lesion pass through the same steps with a lesion of share 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.contrast import SEQUENCES, T1_WEIGHTED, TISSUES, Tissue
from skiagraph.data.contrast_simulation import PURE, shading
from skiagraph.data.lesion_anatomy import Anatomy, Pose, posed, smooth_noise
from skiagraph.data.lesion_bodies import LesionBody, draw_body, soft_fraction
from skiagraph.data.lesion_shapes import ShapeBank, Side
from skiagraph.data.simulation import case_generator
from skiagraph.errors import DataError, InputError

__all__ = ["KINDS", "InsertedCase", "InsertionOptions", "LesionKind", "insert_lesions"]

FloatArray = NDArray[np.floating[Any]]
KindName = Literal["hyper", "hypo", "iso"]


@dataclass(frozen=True)
class LesionKind:
    """What a lesion is made of.

    Attributes:
        tissue: proton density and times; None: the mean signal of the tissue it displaces, so that only texture and
            shape tell it.
        texture_percent: standard deviation of its own texture.
        texture_mm: width of that texture.
        jitter: relative spread of density and times from lesion to lesion.
    """

    tissue: Tissue | None
    texture_percent: float
    texture_mm: float
    jitter: float = 0.15


KINDS: dict[str, LesionKind] = {
    "hyper": LesionKind(Tissue(0.80, 300.0, 110.0), 4.0, 4.0),
    "hypo": LesionKind(Tissue(0.86, 1350.0, 200.0), 4.0, 4.0),
    "iso": LesionKind(None, 20.0, 2.4),
}
"""Brighter than white matter on T1, between fluid and grey matter, and as bright as what it displaces (choices)."""


@dataclass(frozen=True)
class InsertionOptions:
    """How cases are made; all choices, not measurements.

    Attributes:
        kind: name of `KINDS`.
        contrast: name of `SEQUENCES`; "iso" is as bright as its surroundings in any of them.
        pose: grid of the images, and how anatomy varies.
        diameter_mm: smallest and largest equivalent diameter of lesions.
        most_lesions: at most so many in a case, at least one.
        noise_percent: of the complex noise's parts, relative to white matter.
        bias_percent: range of the shading.
    """

    kind: KindName = "hyper"
    contrast: str = "T1"
    pose: Pose = field(default_factory=Pose)
    diameter_mm: tuple[float, float] = (12.0, 36.0)
    most_lesions: int = 3
    noise_percent: float = 2.0
    bias_percent: float = 20.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise InputError(f"kind is {self.kind!r}; allowed are {', '.join(KINDS)}")
        if self.contrast not in SEQUENCES:
            raise InputError(f"contrast is {self.contrast!r}; allowed are {', '.join(SEQUENCES)}")


@dataclass(frozen=True, eq=False)
class InsertedCase:
    """One case with everything that was hidden in it; axes right, anterior, superior.

    Attributes:
        image: (X, Y, Z) float32, magnitude signal with shading and noise, in the proton density's unit.
        twin: the same without the lesion: same anatomy, shading and noise. For evaluation only.
        share: (X, Y, Z) float32, share of lesion.
        brain: (X, Y, Z) bool.
        lesions: what was inserted, for records.
    """

    image: NDArray[np.float32]
    twin: NDArray[np.float32]
    share: NDArray[np.float32]
    brain: NDArray[np.bool_]
    lesions: tuple[dict[str, Any], ...]

    @property
    def truth(self) -> NDArray[np.bool_]:
        """Voxels of which at least half is lesion."""
        return np.asarray(self.share >= 0.5)


def _places(parts: FloatArray, steps: tuple[float, ...]) -> NDArray[np.float64]:
    """Chance of a lesion's centre: P(white) exp(-distance to the ventricles / 20 mm) well inside the brain.

    Ventricles are taken for the fluid at least 20 mm away from the brain's surface.
    """
    from scipy import ndimage

    brain = parts[:3].sum(0) > 0.5
    inside = ndimage.distance_transform_edt(np.pad(brain, ((1, 1), (1, 1), (0, 0))), sampling=steps)[1:-1, 1:-1]
    ventricles = (parts[0] > 0.7) & (inside > 20)
    away = ndimage.distance_transform_edt(~ventricles, sampling=steps) if ventricles.any() else np.zeros(brain.shape)
    chance = parts[2] * np.exp(-away / 20.0) * (inside > 6)
    if not chance.sum() > 0:
        raise DataError("the slices hold no white matter inside the brain: there is no place for a lesion")
    return np.asarray(chance / chance.sum(), dtype=np.float64)


def _placed(
    parts: FloatArray, thin: int, options: InsertionOptions, bank: ShapeBank, side: Side, rng: np.random.Generator
) -> list[tuple[LesionBody, NDArray[np.float32]]]:
    """Lesions with their shares on the thin slices: at least 0.7 of each in white or grey matter, none in another."""
    steps = (options.pose.pixel_mm, options.pose.pixel_mm, options.pose.slice_mm / thin)
    shape = (parts.shape[1], parts.shape[2], parts.shape[3])
    chance = _places(parts, steps).ravel()
    wanted = int(rng.integers(1, options.most_lesions + 1))
    found: list[tuple[LesionBody, NDArray[np.float32]]] = []
    taken = np.zeros(shape, dtype=np.float32)
    for _ in range(40):
        if len(found) == wanted:
            break
        body = draw_body(bank, side, rng, diameter_mm=options.diameter_mm)
        place = np.unravel_index(int(rng.choice(chance.size, p=chance)), shape)
        share = soft_fraction(body, (float(place[0]), float(place[1]), float(place[2])), shape, steps)
        total = float(share.sum())
        if total > 0 and float((share * parts[1:3].sum(0)).sum()) >= 0.7 * total and not (share * taken > 0).any():
            found.append((body, share * (parts[:3].sum(0) > 0.5)))
            taken += share
    if not found:
        raise DataError("no lesion fitted into the brain in 40 draws; allow smaller ones with diameter_mm")
    return found


def _tissue_signal(
    parts: FloatArray, contrast: str, parameters: dict[str, tuple[float, float, float]]
) -> NDArray[np.float32]:
    """sum_k f_k s_k with times shifted by the residual texture, as in `simulate_contrasts`."""
    brain = parts[:3].sum(0) > 0.02
    texture = parts[3][brain]
    total = np.zeros(texture.shape)
    for index, name in enumerate(PURE):
        density, t1, t2 = parameters[name]
        change = -texture / np.abs(T1_WEIGHTED.t1_exponent(t1))
        sequence = SEQUENCES[contrast]
        total += parts[index][brain] * sequence.signal(
            density * np.exp(0.25 * change), t1 * np.exp(change), t2 * np.exp(0.5 * change)
        )
    signal = np.zeros(brain.shape, dtype=np.float32)
    signal[brain] = total
    return signal


def _lesion_signal(
    kind: LesionKind, contrast: str, displaced: float, generator: np.random.Generator
) -> tuple[float, dict[str, float]]:
    if kind.tissue is None:
        return displaced, {"signal": displaced}
    draws = np.exp(kind.jitter * np.array([0.3, 1, 1]) * generator.normal(size=3))
    values = np.array([kind.tissue.proton_density, kind.tissue.t1_ms, kind.tissue.t2_ms]) * draws
    signal = float(SEQUENCES[contrast].signal(*values))
    return signal, dict(zip(("pd", "t1_ms", "t2_ms", "signal"), (*map(float, values), signal), strict=True))


def insert_lesions(
    anatomy: Anatomy,
    bank: ShapeBank,
    options: InsertionOptions,
    *,
    side: Side,
    present: bool,
    seed: int = 0,
    case: str = "",
) -> InsertedCase:
    """Make one case.

    Args:
        anatomy: the brain.
        bank: of outlines.
        options: see there.
        side: whose outlines.
        present: False makes a case without lesion: the same steps, the lesion's share set to 0.
        seed, case: every draw is a function of both; each kind of draw has a stream of its own.
    """
    parts, thin = posed(anatomy, options.pose, case_generator(seed, case, "pose"))
    tissue_rng = case_generator(seed, case, "tissue")
    parameters = {}
    for name in PURE:
        draws = np.exp(np.array([0.02, 0.05, 0.05]) * tissue_rng.normal(size=3))
        tissue = TISSUES[name]
        parameters[name] = (
            tissue.proton_density * float(draws[0]),
            tissue.t1_ms * float(draws[1]),
            tissue.t2_ms * float(draws[2]),
        )
    clean = _tissue_signal(parts, options.contrast, parameters)
    diseased, share, records = _with_lesions(parts, thin, clean, bank, options, side, present, seed, case)
    return _acquired(clean, diseased, share, parts, thin, parameters, options, records, seed, case)


def _with_lesions(
    parts: FloatArray,
    thin: int,
    clean: NDArray[np.float32],
    bank: ShapeBank,
    options: InsertionOptions,
    side: Side,
    present: bool,
    seed: int,
    case: str,
) -> tuple[NDArray[np.float32], NDArray[np.float32], list[dict[str, Any]]]:
    """Signal with lesions, their share, and what they are; signals are mixed before shading and noise."""
    kind = KINDS[options.kind]
    steps = np.array([options.pose.pixel_mm, options.pose.pixel_mm, options.pose.slice_mm / thin])
    look = case_generator(seed, case, "lesion signal")
    signal, share, records = clean.copy(), np.zeros_like(clean), []
    for body, drawn in _placed(parts, thin, options, bank, side, case_generator(seed, case, "lesions")):
        part = drawn if present else np.zeros_like(drawn)
        displaced = float((drawn * clean).sum() / max(float(drawn.sum()), 1e-9))
        level, record = _lesion_signal(kind, options.contrast, displaced, look)
        texture = 1 + kind.texture_percent / 100 * smooth_noise(clean.shape, steps, kind.texture_mm, look)
        signal = (1 - part) * signal + part * np.clip(level * texture, 0, None).astype(np.float32)
        share += part
        records.append({**record, "diameter_mm": body.diameter_mm, "outline": body.shape.source, "rim_mm": body.rim_mm})
    return signal, np.clip(share, 0, 1), records if present else []


def _acquired(
    clean: NDArray[np.float32],
    diseased: NDArray[np.float32],
    share: NDArray[np.float32],
    parts: FloatArray,
    thin: int,
    parameters: dict[str, tuple[float, float, float]],
    options: InsertionOptions,
    records: list[dict[str, Any]],
    seed: int,
    case: str,
) -> InsertedCase:
    """Slice profile, shading and Rician noise, the same for the case and its twin."""

    def thick(array: FloatArray) -> NDArray[np.float32]:
        shaped = array.reshape(array.shape[0], array.shape[1], options.pose.slices, thin)
        return np.asarray(shaped.mean(3), dtype=np.float32)

    brain = np.asarray(thick(parts[:3].sum(0)) > 0.5)
    streams = case_generator(seed, case, "shading"), case_generator(seed, case, "own shading")
    bias = shading(brain, options.bias_percent, *streams)
    reference = float(SEQUENCES[options.contrast].signal(*parameters["white"]))
    shape = (2, *brain.shape)
    noise = options.noise_percent / 100 * reference * case_generator(seed, case, "noise").normal(size=shape)
    seen = [np.hypot(thick(signal) * bias + noise[0], noise[1]).astype(np.float32) for signal in (diseased, clean)]
    return InsertedCase(seen[0], seen[1], thick(share), brain, tuple(records))
