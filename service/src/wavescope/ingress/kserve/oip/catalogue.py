"""Catalogue of the models that the protocol offers, and of the tensors that each takes and gives.

Every registered model is one, and so is each of its explainers: ``efficientnet-lite0-wcam`` explains
``efficientnet-lite0`` with kind ``wcam``. A registered model whose own name ends so is itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from wavescope._version import __version__
from wavescope.engine.kinds import KINDS, find_kind
from wavescope.errors import UnknownModel
from wavescope.ingress.kserve.oip.outputs import outputs_of
from wavescope.ingress.plane import ModelPlane

SERVER = "wavescope"
VERSION = "1"
EXTENSIONS = ("binary_tensor_data",)
IMAGE, OTHER, RAW_OUTPUTS = "image", "other", "outputs"


@dataclass(frozen=True, slots=True)
class Named:
    """Model or explainer that a name stands for.

    Attributes:
        name: as it was called.
        model: the registered model.
        kind: what is explained of it; ``None`` for the model itself.
    """

    name: str
    model: str
    kind: str | None

    @property
    def inputs(self) -> tuple[str, ...]:
        return (IMAGE, OTHER) if find_kind(self.kind).takes_other else (IMAGE,)

    @property
    def outputs(self) -> tuple[str, ...]:
        return (RAW_OUTPUTS,) if self.kind is None else tuple(outputs_of(self.kind))


def find(plane: ModelPlane, name: str, version: str) -> Named:
    """Find what a name stands for: a model, or an explainer of one. The plane refuses a model that is not registered.

    Raises:
        UnknownModel: no such version of it.
    """
    if version not in ("", VERSION):
        raise UnknownModel(
            f"model {name[:128]!r} has version {VERSION} alone, not {version[:32]!r}",
            field="version",
            supported=[VERSION],
        )
    kind = next((kind for kind in KINDS if name.endswith(f"-{kind}")), None)
    if kind is None or name in plane.model_names():
        return Named(name, name, None)
    return Named(name, name.removesuffix(f"-{kind}"), kind)


def server_metadata() -> dict[str, Any]:
    """Metadata of the server."""
    return {"name": SERVER, "version": __version__, "extensions": list(EXTENSIONS)}


def model_metadata(named: Named, details: dict[str, Any]) -> dict[str, Any]:
    """Metadata of a model: its tensors, -1 where a dimension varies."""
    if named.kind is None:
        outputs = [_tensor(RAW_OUTPUTS, "FP32", (details.get("classes", -1),))]
    else:
        outputs = [_tensor(name, *described) for name, described in outputs_of(named.kind).items()]
    return {
        "name": named.name,
        "versions": [VERSION],
        "platform": "wavescope_classifier" if named.kind is None else "wavescope_explainer",
        "inputs": [_tensor(name, "BYTES", ()) for name in named.inputs],
        "outputs": outputs,
    }


def _tensor(name: str, datatype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": [-1, *shape]}


async def index(plane: ModelPlane) -> list[dict[str, str]]:
    """Every model that can be called by name, and whether it is ready."""
    models = await plane.models()
    listed = {name: bool(details.get("ready")) for name, details in models.items()}
    explainers = {f"{name}-{kind}": ready for name, ready in listed.items() for kind in KINDS}
    return [
        {"name": name, "version": VERSION, "state": "READY" if ready else "UNAVAILABLE", "reason": ""}
        for name, ready in (explainers | listed).items()
    ]
