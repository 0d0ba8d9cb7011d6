"""PNG files of 8 or 16 bits with one or three channels, and words in them that say where they come from."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skiagraph.data.files import write_whole
from skiagraph.errors import InputError

__all__ = ["contact_sheet", "encode_png", "write_png"]


def encode_png(pixels: NDArray[Any], words: Mapping[str, str] | None = None) -> bytes:
    """Return a PNG file (ISO/IEC 15948) of whole numbers.

    Args:
        pixels: (H, W) or (H, W, 3), uint8 or uint16.
        words: texts by keyword (Latin letters), such as {"Source": "synthetic"}.
    """
    shape, depth = pixels.shape, {np.dtype("u1"): 8, np.dtype("u2"): 16}.get(pixels.dtype)
    if depth is None or len(shape) not in (2, 3) or (len(shape) == 3 and shape[2] != 3) or 0 in shape:
        raise InputError(f"pixels: found {pixels.dtype} of shape {shape}; uint8 or uint16, (H, W) or (H, W, 3)")
    rows = pixels.astype(">u2" if depth == 16 else "u1").reshape(shape[0], -1).view("u1")
    lines = np.concatenate([np.zeros((shape[0], 1), "u1"), rows], axis=1)  # filter 0 on every line
    header = struct.pack(">IIBBBBB", shape[1], shape[0], depth, 0 if len(shape) == 2 else 2, 0, 0, 0)
    texts = [_chunk(b"tEXt", f"{key}\0{text}".encode("latin-1", "replace")) for key, text in (words or {}).items()]
    body = [_chunk(b"IHDR", header), *texts, _chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def write_png(path: Path, pixels: NDArray[Any], words: Mapping[str, str] | None = None) -> Path:
    """Write `encode_png(pixels, words)`, whole or not at all."""
    return write_whole(path, encode_png(pixels, words))


def contact_sheet(images: Sequence[NDArray[Any]], columns: int | None = None, gap: int = 2) -> NDArray[Any]:
    """Pictures of one size side by side in rows, on black.

    Args:
        images: (H, W) or (H, W, 3), at least one.
        columns: pictures a row; None for about as many rows as columns.
        gap: pixels between two.
    """
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    height, width = images[0].shape[:2]
    rows = -(-len(images) // columns)
    size = (rows * (height + gap) - gap, columns * (width + gap) - gap, *images[0].shape[2:])
    sheet = np.zeros(size, images[0].dtype)
    for number, image in enumerate(images):
        top, left = number // columns * (height + gap), number % columns * (width + gap)
        sheet[top : top + height, left : left + width] = image
    return sheet
