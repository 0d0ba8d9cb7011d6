"""Centred two-dimensional transforms, and the loops over coils that the scan operators are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor

__all__ = [
    "by_sample",
    "centred_fft2",
    "centred_ifft2",
    "decode",
    "encode",
    "filtered",
    "to_complex",
    "to_real",
]

_PLANE = (-2, -1)


def to_complex(x: Tensor) -> Tensor:
    """(B, 2, ...) real and imaginary part -> (B, ...) complex; half precisions become complex64."""
    if x.is_complex() or x.ndim < 2 or x.shape[1] != 2:
        raise ValueError(
            f"x: found {x.dtype} of shape {tuple(x.shape)}; allowed is real (B, 2, ...), channels re and im."
        )
    if x.dtype in (torch.float16, torch.bfloat16):
        x = x.float()
    return torch.complex(x[:, 0].contiguous(), x[:, 1].contiguous())


def to_real(x: Tensor) -> Tensor:
    """(B, ...) complex -> (B, 2, ...) real and imaginary part."""
    if not x.is_complex():
        raise ValueError(f"x: found {x.dtype}; allowed is a complex tensor.")
    return torch.stack([x.real, x.imag], 1)


def centred_fft2(x: Tensor) -> Tensor:
    """Orthonormal 2-D transform over the last two axes, zero position and zero frequency at index size // 2.

    X = fftshift(fft2(ifftshift(x), norm="ortho")): unitary for every size, even or odd.
    """
    spectrum: Tensor = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, _PLANE), norm="ortho"), _PLANE)
    return spectrum


def centred_ifft2(x: Tensor) -> Tensor:
    """Inverse, and adjoint, of `centred_fft2`."""
    image: Tensor = torch.fft.fftshift(torch.fft.ifft2(torch.fft.ifftshift(x, _PLANE), norm="ortho"), _PLANE)
    return image


@lru_cache(maxsize=32)
@torch.inference_mode(False)
def _centring(height: int, width: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """Phases p, q of the image and of the spectrum (H, W) with F x = q F0 (p x), F0 the plain transform.

    Per axis exp(-2 pi i (k - h)(j - h)/n) = exp(-2 pi i k j/n) exp(2 pi i h j/n) exp(2 pi i (h k - h^2)/n), h = n // 2.
    They cost less than shifts of every coil; they are real, +-1, where both sizes are even.
    """
    image, spectrum = torch.ones(1, 1, dtype=torch.complex128), torch.ones(1, 1, dtype=torch.complex128)
    for size, shape in ((height, (-1, 1)), (width, (1, -1))):
        half, index = size // 2, torch.arange(size)
        turns = torch.stack([half * index, half * index - half**2]).remainder(size).double() / size
        phases = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns)
        image, spectrum = image * phases[0].reshape(shape), spectrum * phases[1].reshape(shape)
    if height % 2 == 0 and width % 2 == 0:
        return image.real.round().to(device, dtype.to_real()), spectrum.real.round().to(device, dtype.to_real())
    return image.to(device, dtype), spectrum.to(device, dtype)


_LARGE = 1 << 15  # values of one sample from which samples are worked on one by one


def by_sample(function: Callable[..., Tensor], state: Tensor, *fields: Tensor | None) -> Tensor:
    """function(state, *fields), on the processor sample by sample where samples are large.

    The intermediate coil images of one sample stay in the cache, and are not given back to the operating system and
    fetched again at every call, which costs several times more than the transforms.
    """
    batch = state.shape[0]
    for field in fields:
        if field is not None and batch > 1 and field.shape[0] not in (1, batch):
            raise ValueError(
                f"x: found a batch of {batch}, but the operator holds maps or masks of {field.shape[0]} samples; "
                "allowed are equal batches, or 1 for what all samples share."
            )
    size = max(value[0].numel() for value in (state, *fields) if value is not None)
    if state.device.type != "cpu" or size < _LARGE or batch == 1:
        return function(state, *fields)
    columns = [[None] if field is None else list(torch.split(field, 1)) for field in fields]
    rows = enumerate(torch.split(state, 1))
    return torch.cat([function(one, *(c[i if len(c) > 1 else 0] for c in columns)) for i, one in rows])


def encode(image: Tensor, maps: Tensor | None, mask: Tensor | None) -> Tensor:
    """M F C x: complex images (B, H, W) -> (B, coils or 1, H, W)."""
    inner, outer = _centring(*image.shape[-2:], image.dtype, image.device)
    coils = (inner * image).unsqueeze(1)
    spectrum: Tensor = torch.fft.fft2(coils if maps is None else maps * coils, norm="ortho")
    return spectrum * (outer if mask is None else mask * outer)


def decode(kspace: Tensor, conjugate: Tensor | None, mask: Tensor | None) -> Tensor:
    """C^H F^H M y: (B, coils or 1, H, W) -> complex images (B, H, W)."""
    inner, outer = (phase.conj() for phase in _centring(*kspace.shape[-2:], kspace.dtype, kspace.device))
    coils: Tensor = torch.fft.ifft2(kspace * (outer if mask is None else mask * outer), norm="ortho")
    return inner * (coils[:, 0] if conjugate is None else (conjugate * coils).sum(1))


def _circular_filter(x: Tensor, mask: Tensor) -> Tensor:
    """F^H M F x of the centred transform F, by transforms along the axes on which the mask varies only.

    F = S F0 S^-1 with a circular shift S, and F0^H D F0 is a circular convolution, which commutes with S; so the image
    is not shifted at all and the mask once: F^H M F = F0^-1 (S^-1 M S) F0, in any normalisation.
    """
    axes = tuple(axis for axis in _PLANE if mask.shape[axis] > 1)
    if not axes:
        return mask * x
    rolled = torch.fft.ifftshift(mask, axes)
    filtered: Tensor = torch.fft.ifftn(rolled * torch.fft.fftn(x, dim=axes), dim=axes)
    return filtered


def filtered(image: Tensor, maps: Tensor | None, conjugate: Tensor | None, mask: Tensor) -> Tensor:
    """C^H F^H M F C x on complex images (B, H, W)."""
    coils = image.unsqueeze(1)
    coils = _circular_filter(coils if maps is None else maps * coils, mask)
    return coils[:, 0] if conjugate is None else (conjugate * coils).sum(1)
