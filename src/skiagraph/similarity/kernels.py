"""Machine code for local information, one voxel after the other; `compiled` prepares what it reads.

All of it is in one file, since numba keeps the code on disk for as long as this file does not change. Arguments are
numpy arrays and tuples of them; `code` numbers the values that occur in an image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["BLOCK", "fill_voxels"]

BLOCK, _ROWS = 16, 4  # float32 numbers, and rows of a histogram, that are worked on at once
_ZERO, _ONE, _TWO = np.float32(0), np.float32(1), np.float32(2)
# (log2 m) / (m - 1) on [1, 2) as a polynomial in m - 1, fitted at Chebyshev's points; within 1.3e-6 of log2 m
_C0, _C1, _C2, _C3 = np.float32(1.4426932), np.float32(-0.72116274), np.float32(0.47770593), np.float32(-0.33924776)
_C4, _C5, _C6 = np.float32(0.21558854), np.float32(-0.09606625), np.float32(0.020490346)


@intrinsic
def _as_bits(context: Any, value: Any) -> Any:
    """The bits of a float32 as int32."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(32))

    return types.int32(types.float32), build


@intrinsic
def _as_float(context: Any, value: Any) -> Any:
    """The inverse of `_as_bits`."""

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.int32), build


@intrinsic
def _weighted_sums(
    context: Any, table: Any, into: Any, width: Any, weights: Any, starts: Any, factors: Any, first: Any
) -> Any:
    """table[into + r width + i] = sum_m factors[first + m rows + r] weights[starts[m] + i], r < 4, i < 16; flat arrays.

    `first` is (number of the first factor, rows). In vectors by hand: the compiler alone fears that arrays overlap.
    """
    vector = ir.VectorType(ir.FloatType(), BLOCK)

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        arrays = [context.make_array(signature.args[n])(context, builder, arguments[n]) for n in (0, 3, 4, 5)]
        out, rows, places, scales = (array.data for array in arrays)
        count = builder.extract_value(arrays[2].shape, 0)
        start, step = (builder.extract_value(arguments[6], n) for n in range(2))
        totals = [cgutils.alloca_once_value(builder, ir.Constant(vector, None)) for _ in range(_ROWS)]
        every = ir.Constant(ir.VectorType(ir.IntType(32), BLOCK), None)
        for total in totals:
            builder.store(ir.Constant(vector, None), total)
        with cgutils.for_range(builder, count, intp=count.type) as loop:
            row = builder.gep(rows, [builder.load(builder.gep(places, [loop.index]))])
            found = builder.load(builder.bitcast(row, vector.as_pointer()), align=4)
            here = builder.add(start, builder.mul(step, loop.index))
            for number, total in enumerate(totals):
                scale = builder.load(builder.gep(scales, [builder.add(here, here.type(number))]))
                one = builder.insert_element(ir.Constant(vector, ir.Undefined), scale, ir.IntType(32)(0))
                product = builder.fmul(builder.shuffle_vector(one, one, every), found, flags=("fast",))
                builder.store(builder.fadd(builder.load(total), product, flags=("fast",)), total)
        for number, total in enumerate(totals):
            place = builder.add(arguments[1], builder.mul(arguments[2], arguments[2].type(number)))
            pointer = builder.bitcast(builder.gep(out, [place]), vector.as_pointer())
            builder.store(builder.load(total), pointer, align=4)
        return context.get_dummy_value()

    pair = types.UniTuple(types.int64, 2)
    return types.void(table, types.int64, types.int64, weights, starts, factors, pair), build


@njit(error_model="numpy", fastmath=True)
def _entropy(table: Any, start: Any, stop: Any, scale: Any) -> Any:
    """-sum q log2 q of q = scale table[start : stop], with q >= 0; q = 0 counts nothing."""
    total = _ZERO
    for place in range(np.uintp(start), np.uintp(stop)):
        q = table[place] * scale
        bits = _as_bits(q)
        rest = _as_float(np.int32((bits & 0x7FFFFF) | 0x3F800000)) - _ONE
        series = _C3 + rest * (_C4 + rest * (_C5 + rest * _C6))
        total += q * (np.float32((bits >> 23) - 127) + rest * (_C0 + rest * (_C1 + rest * (_C2 + rest * series))))
    return -total


@njit(error_model="numpy")
def _reads(codes: Any, code: Any, voxel: Any, lists: Any, box: Any, regular: Any, offsets: Any) -> None:
    """Write to codes (w, m) the codes of what a voxel's windows read; where all is regular, by constant offsets."""
    x, y, z = voxel
    if regular[0][x] & regular[1][y] & regular[2][z]:
        base = (x * box[1] + y) * box[2] + z
        for w in range(codes.shape[0]):
            for m in range(codes.shape[1]):
                codes[w, m] = code[np.uintp(base + offsets[w, m])]
        return
    flat = codes.reshape(-1)
    n = 0
    for a in range(lists[0].shape[1]):
        for b in range(lists[1].shape[1]):
            for c in range(lists[2].shape[1]):
                for i in lists[0][x, a]:
                    for j in lists[1][y, b]:
                        for k in lists[2][z, c]:
                            known = (i >= 0) & (j >= 0) & (k >= 0)
                            flat[n] = code[(i * box[1] + j) * box[2] + k] if known else code[-1]
                            n += 1


@njit(error_model="numpy")
def _span(codes: Any, w: Any, low: Any, inside: Any) -> Any:
    """First and last first-bin of codes[w], whether all are equal, and whether one is within the range."""
    first, last, equal, seen = np.int32(2**30), np.int32(-1), True, False
    for m in range(codes.shape[1]):
        code = np.uintp(codes[w, m])
        found = low[code]
        equal &= codes[w, m] == codes[w, 0]
        seen |= inside[code]
        first = min(first, found if found >= 0 else np.int32(2**30))
        last = max(last, found)
    return first, last, equal, seen


@njit(error_model="numpy", fastmath=True)
def _factors(table: Any, places: Any, weights: Any, first: Any, rows: Any, padded: Any) -> None:
    """Fill table (m, padded), flat, with the patch's weights for bins from `first` on, a one after them, then zeros."""
    for n in range(places.shape[1]):
        for row in range(rows):
            table[n * padded + row] = weights[places[0, n], first + row]
        table[n * padded + rows] = _ONE
        for row in range(rows + 1, padded):
            table[n * padded + row] = _ZERO


@njit(error_model="numpy", fastmath=True)
def _joint(
    table: Any, factors: Any, padded: Any, blocks: Any, places: Any, w: Any, starts: Any, weights: Any, bins: Any
) -> None:
    """Fill table (padded, 16 blocks), flat: sum_m a_m b_m^T for the patch's rows and, after them, sum_m b_m."""
    width = (blocks[1] - blocks[0]) * BLOCK
    for block in range(blocks[0], blocks[1]):
        for n in range(starts.size):
            starts[n] = places[w, n] * bins + block * BLOCK
        for row in range(0, padded, _ROWS):
            into = row * width + (block - blocks[0]) * BLOCK
            _weighted_sums(table, into, width, weights, starts, factors, (row, padded))


@njit(error_model="numpy", fastmath=True)
def _compared(own: Any, other: Any, both: Any, floor: Any, normalise: Any) -> Any:
    """Information in bits, or 2 I / (H + H); as `information._compared`."""
    bits = own + other - both
    if floor > 0:
        return _TWO * (bits + floor) / (own + other + floor) if normalise else bits
    bits = max(bits, _ZERO)
    if not normalise:
        return bits
    return min(_TWO * bits / (own + other), _ONE) if own + other > np.float32(1e-6) else _ZERO


@njit(error_model="numpy", fastmath=True)
def _own_entropy(factors: Any, row: Any, mine: Any, mass: Any, rows: Any, padded: Any, floor: Any) -> Any:
    """Entropy of the patch's marginal."""
    total = _ZERO
    row[:rows] = _ZERO
    for n in range(mine.shape[1]):
        total += mass[mine[0, n]]
        for place in range(rows):
            row[place] += factors[n * padded + place]
    return _entropy(row, 0, rows, _ONE / (total + mine.shape[1] * floor))


@njit(error_model="numpy", fastmath=True)
def _best(
    table: Any, factors: Any, starts: Any, mine: Any, theirs: Any, spans: Any, patch: Any, entropy: Any, own_mass: Any,
    other_mass: Any, weights: Any, reach: Any, options: Any,
) -> Any:  # fmt: skip
    """Largest information of the patch with one of its windows."""
    floor, normalise, _, bins = options
    rows, padded, whole = patch
    best, m = np.float32(-np.inf), mine.shape[1]
    for w in range(theirs.shape[0]):
        if spans[w, 2] == 1 and not whole:
            best = max(best, _ZERO)
            continue
        blocks = (0, bins // BLOCK)
        if not whole:
            blocks = (spans[w, 0] // BLOCK, (spans[w, 1] + reach - 1) // BLOCK + 1)
        _joint(table, factors, padded, blocks, theirs, w, starts, weights, bins)
        width = (blocks[1] - blocks[0]) * BLOCK
        apart_mass, both_mass = _ZERO, _ZERO
        for n in range(m):
            apart_mass += other_mass[theirs[w, n]]
            both_mass += own_mass[mine[0, n]] * other_mass[theirs[w, n]]
        apart = _entropy(table, rows * width, (rows + 1) * width, _ONE / (apart_mass + m * floor))
        both = _entropy(table, 0, rows * width, _ONE / (both_mass + floor))
        best = max(best, _compared(entropy, apart, both, floor, normalise))
    return best


@njit(error_model="numpy", fastmath=True, nogil=True, cache=True)
def fill_voxels(
    result: Any, wanted: Any, part: Any, patches: Any, windows: Any, own: Any, other: Any, reach: Any, order: Any,
    options: Any,
) -> None:  # fmt: skip
    """Map values of voxels part[0] ... part[1] - 1 of a tile whose axes have the lists' lengths.

    `order` says which value of a patch is paired with which place of a window.
    """
    floor, _, balanced, bins = options
    own_lists, own_box, own_regular, own_offsets = patches
    other_lists, other_box, other_regular, other_offsets = windows
    own_code, own_weights, own_low, own_mass, own_inside = own
    other_code, other_weights, other_low, other_mass, other_inside = other
    flat = other_weights.reshape(-1)
    sizes, m = (wanted.shape[0], wanted.shape[1], wanted.shape[2]), own_offsets.shape[1]
    count = other_offsets.shape[0]
    found = np.empty((1, m), np.int32)
    mine, theirs, starts = np.empty((1, m), np.int32), np.empty((count, m), np.int32), np.empty(m, np.int64)
    spans, row = np.empty((count, 3), np.int32), np.empty(bins, np.float32)
    table, factors = np.empty((bins + 2 * _ROWS) * bins, np.float32), np.empty((bins + 2 * _ROWS) * m, np.float32)
    for number in range(part[0], part[1]):
        line = number // sizes[2]
        voxel = line // sizes[1], line % sizes[1], number % sizes[2]
        if not wanted[voxel]:
            continue
        _reads(found, own_code, voxel, own_lists, own_box, own_regular, own_offsets)
        for n in range(m):
            mine[0, n] = found[0, order[n]]
        _reads(theirs, other_code, voxel, other_lists, other_box, other_regular, other_offsets)
        first, last, equal, seen = _span(mine, 0, own_low, own_inside)
        for w in range(count):
            spans[w, 0], spans[w, 1], same, near = _span(theirs, w, other_low, other_inside)
            spans[w, 2], seen = same, seen & near
        whole = not seen and not balanced  # far outside the range all bins count, however little
        if equal and not whole:
            continue
        first, rows = (0, bins) if whole else (first, last - first + reach)
        padded = (rows + _ROWS) // _ROWS * _ROWS
        _factors(factors, mine, own_weights, first, rows, padded)
        entropy = _own_entropy(factors, row, mine, own_mass, rows, padded, floor)
        result[number] = _best(
            table, factors, starts, mine, theirs, spans, (rows, padded, whole), entropy, own_mass, other_mass, flat,
            reach, options,
        )  # fmt: skip
