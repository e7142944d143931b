"""Days of silence as a small FLAC file, written frame by frame: an encoder would take minutes.

Source of the format: RFC 9639, sections 8.2 (streaminfo), 9.1 (frame header), 9.2.3 (constant).
"""

import struct

import numpy as np
import numpy.typing as npt

RATE, BLOCK = 48_000, 4_608
Bytes = npt.NDArray[np.uint8]

CODED = ((0, 0x80, 0x00), (0x80, 0x800, 0xC0), (0x800, 0x10000, 0xE0), (0x10000, 0x200000, 0xF0))
"""Frame numbers by the length of their code, 1 to 4 bytes: first, end, lead byte."""


def table(polynomial: int, bits: int) -> npt.NDArray[np.uint16]:
    """A CRC's 256 steps."""
    steps = np.arange(256) << (bits - 8)
    for _ in range(8):
        steps = (steps << 1) ^ np.where(steps >> (bits - 1), polynomial, 0)
        steps &= (1 << bits) - 1
    return steps.astype(np.uint16)


CRC_8, CRC_16 = table(0x07, 8), table(0x8005, 16)


def flac_silence(hours: float) -> bytes:
    """16 bits, mono, 48 kHz: 14 bytes for each 96 ms."""
    count = int(hours * 3_600 * RATE / BLOCK)
    size = (RATE << 44) | (15 << 36) | (count * BLOCK)
    info = struct.pack(">HH6xQ16x", BLOCK, BLOCK, size)
    pieces = [b"fLaC\x80\x00\x00\x22" + info]
    for length, (first, end, lead) in enumerate(CODED, 1):
        numbers = np.arange(first, min(end, count))
        if numbers.size:
            pieces.append(np.stack(frames(numbers, length, lead), axis=1).tobytes())
    return b"".join(pieces)


def frames(numbers: npt.NDArray[np.int64], length: int, lead: int) -> list[Bytes]:
    """The frames of these numbers, as columns of bytes."""
    columns = [np.full(numbers.shape, byte, np.uint8) for byte in (0xFF, 0xF8, 0x5A, 0x08)]
    columns.append((lead | numbers >> 6 * (length - 1)).astype(np.uint8))
    columns += [
        (0x80 | numbers >> 6 * place & 0x3F).astype(np.uint8) for place in range(length - 2, -1, -1)
    ]
    check = np.zeros(numbers.shape, np.uint16)
    for column in columns:
        check = CRC_8[check ^ column]
    columns += [check.astype(np.uint8), *(np.zeros(numbers.shape, np.uint8),) * 3]
    check = np.zeros(numbers.shape, np.uint16)
    for column in columns:
        check = (check << 8) ^ CRC_16[check >> 8 ^ column]
    return [*columns, (check >> 8).astype(np.uint8), (check & 0xFF).astype(np.uint8)]
