"""Cache key of a result: a digest of everything that the result depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def result_key(
    images: Sequence[bytes],
    model: str,
    revision: str,
    parameters: dict[str, Any],
    targets: Any,
    version: str,
    *,
    owner: str = "",
) -> str:
    """Compute the cache key of a result: SHA-256 of everything that it depends on, in hexadecimal.

    Every part is hashed with its length, and the images with their number, so that no two requests hash the same bytes.

    Args:
        images: bytes of the image files in order; the image to compare with is the last.
        model: name of the model.
        revision: digest of the model's computation.
        parameters: every effective parameter, JSON-ready; the order of names does not matter.
        targets: targets of every image, JSON-ready or tuples.
        version: version of the code; another may give other numbers.
        owner: name of the API key whose result it is; empty for a result that all share.

    Example:
        >>> key = result_key([b"a file"], "birds", "r1", {"seed": 0}, [[None]], "0.1.0")
        >>> len(key), key == result_key([b"a file"], "birds", "r1", {"seed": 1}, [[None]], "0.1.0")
        (64, False)
    """
    digest = hashlib.sha256()
    texts = (model, revision, _json(parameters), _json(targets), version, str(len(images)))
    # The number of images is hashed before, so a part that follows them is no image.
    owners = (owner.encode(),) if owner else ()
    # An unpaired surrogate, which JSON can bring, has no UTF-8 of its own.
    for part in (*(text.encode("utf-8", "surrogatepass") for text in texts), *images, *owners):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
