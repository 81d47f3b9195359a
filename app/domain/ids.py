"""Identifiers and fixed hashes: deterministic functions of their arguments, the same in every
process and version."""

from __future__ import annotations

from hashlib import blake2b

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SPREAD = [_CROCKFORD[i >> 5] + _CROCKFORD[i & 31] for i in range(1024)]
_SEPARATOR = b"\x00"


def change_id(user: str, seq: int, digest: str) -> str:
    """The id of a user's `seq`-th change under the definition with `digest`: 26 characters of
    Crockford base 32.

    The form is a ULID's (128 bits, first character 0 to 7) so that tools that expect one accept it;
    the bits are a hash, not a time.
    """
    material = b"%s\x00%d\x00%s" % (user.encode(), seq, digest.encode())
    n = int.from_bytes(blake2b(material, digest_size=16, person=b"hyperseg-change").digest(), "big")
    return _CROCKFORD[n >> 125] + "".join([_SPREAD[(n >> shift) & 1023] for shift in _SHIFTS]) + _CROCKFORD[n & 31]


_SHIFTS = tuple(range(115, 4, -10))


def short_hash(text: str) -> int:
    """A 63-bit hash of `text`, for keys that are stored (it fits a signed 64-bit integer)."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8, person=b"hyperseg-key").digest(), "big") >> 1


def digest(text: str) -> str:
    """16 hex digits naming a canonical text, for example a definition's."""
    return blake2b(text.encode(), digest_size=8, person=b"hyperseg-def").hexdigest()


def bucket(salt: str, user: str) -> int:
    """0 ≤ integer < 100, a fixed hash of (salt, user): sticky splits."""
    material = salt.encode() + _SEPARATOR + user.encode()
    return int.from_bytes(blake2b(material, digest_size=8, person=b"hyperseg-bucket").digest(), "big") % 100
