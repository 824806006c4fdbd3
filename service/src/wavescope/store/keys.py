"""The key of a request's content: the same for the same question, whoever asks it and whenever."""

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
) -> str:
    """SHA-256 of everything that a result depends on, in hexadecimal.

    Every part comes with its length, and the images with their number, so that no two requests give the same bytes.

    Args:
        images: the encoded files in order, that to compare with the last.
        model: its name.
        revision: digest of what the model computes.
        parameters: every effective one, JSON-ready; the order of names does not matter.
        targets: of every image, JSON-ready or tuples.
        version: of what computes; another may give other numbers.
    """
    digest = hashlib.sha256()
    texts = (model, revision, _json(parameters), _json(targets), version, str(len(images)))
    # An unpaired surrogate, which JSON can bring, has no UTF-8 of its own.
    for part in (*(text.encode("utf-8", "surrogatepass") for text in texts), *images):
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))
