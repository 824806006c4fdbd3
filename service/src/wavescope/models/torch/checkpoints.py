"""Reading of weights files: state dictionaries, alone or in what training scripts keep them in.

Nothing that a file names is imported or called. What such scripts save beside the weights (arguments, numbers of NumPy,
paths, dates) is read as empty objects of ours where its class is listed here; a file that names any other class or
function is refused.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import threading
import zipfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from wavescope.errors import WavescopeError
from wavescope.models.backend import check_file
from wavescope.models.file_types import SAFETENSORS, TORCH, check_type, recognise
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.faults import LOAD_ERRORS

log = logging.getLogger(__name__)

MAX_DEPTH = 3
_WRITE = "torch.save(model.state_dict(), 'weights.pth')"
_REFUSED = re.compile(r"GLOBAL ([\w.<>]+) (?:was not an allowed|whose module)")
_SHARD = re.compile(r"-\d{5}-of-\d{5}\.\w+$")
_FORCE = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
_safe_globals = threading.Lock()
_environment = threading.Lock()


class InertObject:
    """Stands for an object that a file holds beside its weights; takes all that it is given, and keeps nothing."""

    def __new__(cls, *_args: object, **_named: object) -> InertObject:
        """An object, whatever it is made of."""
        return super().__new__(cls)

    def __init__(self, *_args: object, **_named: object) -> None: ...

    def __setstate__(self, _state: object) -> None:
        """Forget the state."""


def _empty(*_args: object) -> dict[object, object]:
    return {}


_INERT = {
    "argparse": ("Namespace",),
    "types": ("SimpleNamespace",),
    "typing": ("Any",),
    "uuid": ("UUID",),
    "builtins": ("bool", "dict", "float", "int", "list", "object", "str", "tuple"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "pathlib._local": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "numpy": ("dtype", "ndarray"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "omegaconf.base": ("ContainerMetadata", "Metadata"),
    "omegaconf.dictconfig": ("DictConfig",),
    "omegaconf.listconfig": ("ListConfig",),
    "omegaconf.nodes": (
        "AnyNode",
        "BooleanNode",
        "BytesNode",
        "FloatNode",
        "IntegerNode",
        "PathNode",
        "StringNode",
    ),
    "torch.torch_version": ("TorchVersion",),
}
# Dictionaries of classes of their own: torch fills no others than its own three.
_DICTIONARIES = (
    "addict.addict.Dict",
    "easydict.EasyDict",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "yacs.config.CfgNode",
)


def _stand_ins() -> list[Any]:
    """Pairs of what a listed name is read as, and the name."""
    inert = [(InertObject, f"{module}.{name}") for module, names in _INERT.items() for name in names]
    dictionaries = [(OrderedDict, name) for name in _DICTIONARIES]
    return [*inert, *dictionaries, (_empty, "collections.defaultdict")]


@dataclass(frozen=True, slots=True)
class StateDict:
    """A state dictionary in a file.

    Attributes:
        keys: under which it stands, from the outside in; empty where it is all there is.
        tensors: by name.
        others: names of what is no tensor.
    """

    keys: tuple[str, ...]
    tensors: Mapping[str, torch.Tensor]
    others: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """The keys, as Python writes them: ``['model']['state_dict']``."""
        return "".join(f"[{key!r}]" for key in self.keys)


@contextlib.contextmanager
def weights_only_loads() -> Iterator[None]:
    """Makes torch refuse every pickle that holds more than tensors, which other loaders may run.

    The environment is the only way to say so; meanwhile other threads' loads are refused the same.
    """
    with _environment:
        before = os.environ.get(_FORCE)
        os.environ[_FORCE] = "1"
        try:
            yield
        finally:
            if before is None:
                del os.environ[_FORCE]
            else:
                os.environ[_FORCE] = before


def read_state_dicts(spec: ModelSpec, path: Path) -> tuple[StateDict, ...]:
    """The state dictionaries in a file, at any place in its dictionaries.

    Args:
        spec: of the model, for its digest and for messages.
        path: ``.safetensors``, or what ``torch.save`` wrote.

    Raises:
        WeightsUnavailable: there is no such file.
        RegistryInvalid: its digest is another one; or it is of another type, holds objects that are not read, or no
            tensors.
    """
    if path.name.endswith(".index.json") or _SHARD.search(path.name):
        what = "the list" if path.suffix == ".json" else "one"
        raise spec.invalid(
            "weights",
            f"{str(path)!r} is {what} of the several files that a model's weights are in, which are not joined:"
            " save them in one file with safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')",
        )
    check_type(spec, path, field="weights", expected=(TORCH, SAFETENSORS))
    check_file(spec, path, field="weights")
    found = tuple(_find(_read(spec, path)))
    if not found:
        raise spec.invalid(
            "weights", f"{str(path)!r} holds no state dictionary of tensors: write one with {_WRITE}"
        )
    return found


def _read(spec: ModelSpec, path: Path) -> object:
    try:
        if recognise(path) is SAFETENSORS:
            return load_file(path, device="cpu")
        # A file, not its name, whose ending torch would go by.
        with path.open("rb") as file, _safe_globals, torch.serialization.safe_globals(_stand_ins()):
            return torch.load(file, map_location="cpu", weights_only=True)
    except LOAD_ERRORS as error:
        raise _refusal(spec, path, error) from error


def _refusal(spec: ModelSpec, path: Path, error: Exception) -> WavescopeError:
    text = str(error)
    log.warning("model %r: %s is not read; torch says: %s", spec.name, path, text.strip())
    refused = _REFUSED.search(text)
    if refused is None:
        reason = "is not a weights file that can be read, or it is damaged or cut off: save or fetch it again"
        if "Unsupported operand" in text:
            reason = (
                "is not a weights file that can be read: it was not pickled as torch.save does by default;"
                f" write it with {_WRITE}"
            )
    elif refused[1] == _root(path):
        reason = (
            f"is not a weights file but a whole model pickled by torch.save(model), of class {refused[1]},"
            f" which is never unpickled: write its weights with {_WRITE}"
        )
    else:
        reason = (
            f"is not a weights file of tensors alone: it names {refused[1]}, and nothing is unpickled that could run"
            f" code; write the weights with {_WRITE}, or as .safetensors"
        )
    return spec.invalid("weights", f"{str(path)!r} {reason}")


def _root(path: Path) -> str | None:
    """The class of the outermost object that ``torch.save`` pickled; ``None`` for collections and older files."""
    try:
        with zipfile.ZipFile(path) as archive:
            name = next(name for name in archive.namelist() if name.rpartition("/")[2] == "data.pkl")
            with archive.open(name) as file:
                head = file.read(1000)
    except (zipfile.BadZipFile, OSError, StopIteration, RuntimeError, ValueError):
        return None
    found = re.match(rb"\x80\x02c([\w.]+)\n([\w.]+)\n", head)
    return b".".join(found.groups()).decode() if found else None


def _find(found: object, keys: tuple[str, ...] = ()) -> Iterator[StateDict]:
    if not isinstance(found, Mapping):
        return
    entries = {name: value for name, value in found.items() if isinstance(name, str)}
    tensors = {name: value for name, value in entries.items() if isinstance(value, torch.Tensor)}
    inner = {name: value for name, value in entries.items() if isinstance(value, Mapping)}
    if tensors:
        others = tuple(name for name in entries if name not in tensors and name not in inner)
        yield StateDict(keys, tensors, others)
    if len(keys) < MAX_DEPTH:
        for name, value in inner.items():
            yield from _find(value, (*keys, name))
