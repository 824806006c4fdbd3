"""Random numbers of a fold, by counter: each follows from seed, sequence number and purpose, wherever the fold began.

Raw words of Philox (Salmon et al. 2011, doi:10.1145/2063384.2063405), which NumPy keeps the same in every version.
"""

from __future__ import annotations

import hashlib

import numpy as np
from jaxtyping import Float64, UInt64

from wavescope.errors import InvalidRequest

MAX_SEED = 2**64 - 1
TIES, THINNING = 0, 1  # purposes


def check_seed(seed: int) -> int:
    """The seed, if it is one.

    Raises:
        InvalidRequest: it is not within 0..2^64 − 1.
    """
    if not 0 <= seed <= MAX_SEED:
        raise InvalidRequest(
            f"seed is {seed}; it must be within 0..{MAX_SEED}", field="seed", maximum=MAX_SEED
        )
    return seed


def raw(seed: int, seq: int, name: str, purpose: int, count: int) -> UInt64[np.ndarray, " count"]:
    """(count,) random words.

    Args:
        seed: of the monitor.
        seq: sequence number of the observation, not negative.
        name: of the signal. Signals draw independently, whichever of them there are.
        purpose: one of this module's.
        count: of words.

    Example:
        >>> bool((raw(1, 7, "input", TIES, 3)[:2] == raw(1, 7, "input", TIES, 2)).all())
        True
    """
    word = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    counter = np.array([0, seq, word, purpose], dtype=np.uint64)  # the first counts the words of this draw
    return np.random.Philox(key=np.array([seed, 0], dtype=np.uint64), counter=counter).random_raw(count)


def tie_breaker(seed: int, seq: int, name: str) -> float:
    """θ of an observation, uniform on the open interval (0, 1): a multiple of 2^-53, so that 1 − θ is exact.

    Example:
        >>> 0 < tie_breaker(0, 12, "input") < 1
        True
    """
    return (float(raw(seed, seq, name, TIES, 1)[0] >> np.uint64(12)) + 0.5) * 2.0**-52


def thin(
    values: Float64[np.ndarray, " n"], kept: int, *, seed: int, seq: int, name: str
) -> Float64[np.ndarray, " kept"]:
    """A random subset of ``kept`` of the values, in the order they have; every subset is as likely as another.

    Example:
        >>> thin(np.arange(4.0), 2, seed=0, seq=9, name="input").tolist()
        [2.0, 3.0]
    """
    order = np.argsort(raw(seed, seq, name, THINNING, len(values)), kind="stable")
    return values[np.sort(order[:kept])]
