"""Finding and reading torch weights: a file, a cache, or a hub that answers."""

from __future__ import annotations

import hashlib
import pickle
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from wavescope.errors import WeightsUnavailable
from wavescope.models.spec import ModelSpec

RANDOM = "random"
PROBE_TIMEOUT_S = 5.0

# What training scripts wrap a state dictionary in, and what data parallelism prefixes its names with.
_WRAPPERS = ("state_dict_ema", "model_ema", "state_dict", "model")
_PREFIX = "module."


def read_weights(spec: ModelSpec, path: Path) -> dict[str, torch.Tensor]:
    """The state dictionary in ``path``; never runs code that the file holds.

    Args:
        spec: of the model, for messages.
        path: ``.safetensors``, or what ``torch.save`` wrote: a state dictionary, alone or under ``state_dict``,
            ``model`` and the like.

    Raises:
        RegistryInvalid: the file is neither.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path, device="cpu")
        found = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        first_line = str(error).strip().partition("\n")[0]
        raise spec.invalid("weights", f"{str(path)!r} is not a weights file: {first_line}") from error
    for key in _WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(key), Mapping):
            found = found[key]
            break
    if not isinstance(found, Mapping) or not all(isinstance(value, torch.Tensor) for value in found.values()):
        raise spec.invalid("weights", f"{str(path)!r} holds no state dictionary of tensors")
    return {str(name).removeprefix(_PREFIX): value for name, value in found.items()}


def fill(spec: ModelSpec, module: torch.nn.Module, weights: Mapping[str, torch.Tensor]) -> None:
    """Load ``weights`` into ``module``; every name and shape must agree.

    Raises:
        RegistryInvalid: they do not, with the first disagreement.
    """
    own = module.state_dict()
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    missing = [name for name in own if name not in weights]
    surplus = [name for name in weights if name not in own]
    if not (reshaped or missing or surplus):
        module.load_state_dict(weights)
        return
    if reshaped:
        name = reshaped[-1]
        reason = f"{name} is {tuple(weights[name].shape)}, the model's is {tuple(own[name].shape)}"
        if len(reshaped) <= 2:
            reason += "; for a classifier of another number of classes, give its labels"
    elif missing:
        reason = f"{len(missing)} of the model's tensors are missing, {missing[0]} for one"
    else:
        reason = f"{len(surplus)} tensors are not the model's, {surplus[0]} for one"
    raise spec.invalid("weights", f"{spec.weights!r} does not fit {spec.source!r}: {reason}")


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
    except (urllib.error.URLError, OSError, ValueError) as error:
        raise unavailable(spec, f"{url} does not answer ({error})") from error


def unavailable(spec: ModelSpec, reason: str) -> WeightsUnavailable:
    """The error that says what to do without a hub."""
    return WeightsUnavailable(
        f"model {spec.name!r}: the weights of {spec.source!r} are not cached, and {reason};"
        " give weights: <path of a .safetensors or .pth file>",
        field="weights",
        model=spec.name,
    )
