"""What tissues look like in a sequence: signal equations, relaxation times, and their table."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["SEQUENCES", "T1_WEIGHTED", "TISSUES", "InversionRecovery", "Sequence", "SpinEcho", "Tissue"]

Values = Any
"""Numbers or arrays, which all broadcast."""


@dataclass(frozen=True)
class Tissue:
    """Proton density (of water) and relaxation times in ms, in common use for simulators at 1.5 T."""

    proton_density: float
    t1_ms: float
    t2_ms: float


TISSUES: dict[str, Tissue] = {
    "csf": Tissue(1.00, 2569.0, 329.0),
    "grey": Tissue(0.86, 833.0, 83.0),
    "white": Tissue(0.77, 500.0, 70.0),
    "lesion": Tissue(0.76, 752.0, 237.0),
}
"""Fluid, grey and white matter, and a lesion as in multiple sclerosis."""


class Sequence(Protocol):
    """A pulse sequence: signal from proton density and relaxation times."""

    @property
    def reference(self) -> str:
        """The tissue whose signal the noise is stated relative to."""
        ...

    def signal(self, proton_density: Values, t1_ms: Values, t2_ms: Values) -> NDArray[np.float64]:
        """Magnitude signal."""
        ...


@dataclass(frozen=True)
class SpinEcho:
    """S = PD (1 - exp(-TR / T1)) exp(-TE / T2).

    Attributes:
        repetition_ms, echo_ms: TR and TE.
        reference: the tissue whose signal the noise is stated relative to.
    """

    repetition_ms: float
    echo_ms: float
    reference: str = "white"

    def signal(self, proton_density: Values, t1_ms: Values, t2_ms: Values) -> NDArray[np.float64]:
        """Magnitude signal."""
        grown = -np.expm1(-self.repetition_ms / np.asarray(t1_ms))
        found: NDArray[np.float64] = np.asarray(proton_density) * grown * np.exp(-self.echo_ms / np.asarray(t2_ms))
        return found

    def t1_exponent(self, t1_ms: Values) -> NDArray[np.float64]:
        """d ln S / d ln T1 = -(TR / T1) / (exp(TR / T1) - 1): negative, brighter tissue has a shorter T1."""
        ratio = self.repetition_ms / np.asarray(t1_ms, dtype=np.float64)
        found: NDArray[np.float64] = -ratio / np.expm1(ratio)
        return found


@dataclass(frozen=True)
class InversionRecovery:
    """S = PD |1 - 2 exp(-TI / T1) + exp(-TR / T1)| exp(-TE / T2), TI chosen so that one T1 gives nothing.

    Attributes:
        repetition_ms, echo_ms: TR and TE.
        nulled_t1_ms: TI = T1 ln(2 / (1 + exp(-TR / T1))) of this T1; fluid for FLAIR.
        reference: the tissue whose signal the noise is stated relative to.
    """

    repetition_ms: float
    echo_ms: float
    nulled_t1_ms: float = TISSUES["csf"].t1_ms
    reference: str = "grey"

    @property
    def inversion_ms(self) -> float:
        """TI."""
        return self.nulled_t1_ms * math.log(2 / (1 + math.exp(-self.repetition_ms / self.nulled_t1_ms)))

    def signal(self, proton_density: Values, t1_ms: Values, t2_ms: Values) -> NDArray[np.float64]:
        """Magnitude signal."""
        t1 = np.asarray(t1_ms, dtype=np.float64)
        recovered = np.abs(1 - 2 * np.exp(-self.inversion_ms / t1) + np.exp(-self.repetition_ms / t1))
        found: NDArray[np.float64] = np.asarray(proton_density) * recovered * np.exp(-self.echo_ms / np.asarray(t2_ms))
        return found


T1_WEIGHTED = SpinEcho(500.0, 15.0, "white")
"""The sequence whose image the residual texture is read from."""

SEQUENCES: dict[str, Sequence] = {
    "T1": T1_WEIGHTED,
    "PD": SpinEcho(3000.0, 20.0, "csf"),
    "T2": SpinEcho(4000.0, 100.0, "csf"),
    "FLAIR": InversionRecovery(9000.0, 120.0),
}
"""The four contrasts of `skiagraph simulate contrasts`."""
