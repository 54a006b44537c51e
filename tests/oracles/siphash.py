"""SipHash with 128 bits of output in plain Python integers, after the paper and its reference code."""

from __future__ import annotations

_MASK = (1 << 64) - 1


def _rotate(value: int, bits: int) -> int:
    return ((value << bits) | (value >> (64 - bits))) & _MASK


def _round(v: list[int]) -> None:
    v[0] = (v[0] + v[1]) & _MASK
    v[1] = _rotate(v[1], 13) ^ v[0]
    v[0] = _rotate(v[0], 32)
    v[2] = (v[2] + v[3]) & _MASK
    v[3] = _rotate(v[3], 16) ^ v[2]
    v[0] = (v[0] + v[3]) & _MASK
    v[3] = _rotate(v[3], 21) ^ v[0]
    v[2] = (v[2] + v[1]) & _MASK
    v[1] = _rotate(v[1], 17) ^ v[2]
    v[2] = _rotate(v[2], 32)


def siphash128(key: bytes, message: bytes, rounds: tuple[int, int] = (2, 4)) -> tuple[int, int]:
    """The two 64-bit halves of SipHash-2-4-128, or of one with other rounds (a word, a half)."""
    k0, k1 = int.from_bytes(key[:8], "little"), int.from_bytes(key[8:], "little")
    v = [
        k0 ^ 0x736F6D6570736575,
        k1 ^ 0x646F72616E646F6D ^ 0xEE,
        k0 ^ 0x6C7967656E657261,
        k1 ^ 0x7465646279746573,
    ]
    whole = len(message) // 8 * 8
    last = message[whole:].ljust(7, b"\0") + bytes([len(message) & 0xFF])
    for start in range(0, whole, 8):
        _absorb(v, int.from_bytes(message[start : start + 8], "little"), rounds[0])
    _absorb(v, int.from_bytes(last, "little"), rounds[0])
    v[2] ^= 0xEE
    for _ in range(rounds[1]):
        _round(v)
    first = v[0] ^ v[1] ^ v[2] ^ v[3]
    v[1] ^= 0xDD
    for _ in range(rounds[1]):
        _round(v)
    return first, v[0] ^ v[1] ^ v[2] ^ v[3]


def _absorb(v: list[int], word: int, rounds: int) -> None:
    v[3] ^= word
    for _ in range(rounds):
        _round(v)
    v[0] ^= word
