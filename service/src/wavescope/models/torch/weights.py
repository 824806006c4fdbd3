"""Torch weights: their digest, and whether a hub answers that has them."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request

import torch

from wavescope.errors import WeightsUnavailable
from wavescope.models.spec import ModelSpec

RANDOM = "random"
PROBE_TIMEOUT_S = 5.0
_NOT_THERE = (401, 403, 404, 410)


def weights_digest(module: torch.nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of a module's state dictionary."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def check_reachable(spec: ModelSpec, url: str) -> None:
    """Ask for the head of ``url`` once, so that an offline service says so within seconds, not after retries.

    Raises:
        WeightsUnavailable: nobody answers.
    """
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - https, from the libraries' own metadata
    try:
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S):  # noqa: S310
            return
    except urllib.error.HTTPError as error:
        missing = (
            "there is no such file, or it is not public" if error.code in _NOT_THERE else "try again later"
        )
        raise unavailable(spec, f"{url} answers {error.code}: {missing}") from error
    except (OSError, ValueError) as error:
        raise unavailable(spec, f"{url} does not answer") from error


def unavailable(spec: ModelSpec, reason: str) -> WeightsUnavailable:
    """The error that says what to do without a hub."""
    return WeightsUnavailable(
        f"model {spec.name!r}: the weights of {spec.source!r} are not cached, and {reason};"
        " give weights: <path of a .safetensors or .pth file>",
        field="weights",
        model=spec.name,
    )
