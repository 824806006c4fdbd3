"""From a model's specification to a loaded model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from wavescope.engine.protocols import Classifier
from wavescope.errors import RegistryInvalid
from wavescope.models.remote.address import REMOTE_KINDS
from wavescope.models.spec import ModelSpec


def load(
    spec: ModelSpec, *, cache_dir: Path, threads: int | None = None, remote_hosts: Sequence[str] = ()
) -> Classifier:
    """Load the classifier that ``spec`` names, on its device, ready to run.

    The backends are imported here, so that a model on ONNX Runtime never imports torch.

    Args:
        spec: of the model.
        cache_dir: where the embedded model's exported file is kept.
        threads: of the CPU runtime; ``None`` takes the spec's own.
        remote_hosts: that a model served elsewhere may be on; of none listed, it may be on none.

    Raises:
        WeightsUnavailable: the weights are neither in a file, nor cached, nor reachable.
        RegistryInvalid: a field is wrong for this model, or the runtime it needs is not installed.
        ModelUnavailable, RemoteFailure: it is served elsewhere, and its server does not answer, or refuses.
    """
    if spec.kind in REMOTE_KINDS:
        try:
            from wavescope.models.remote.backend import load_remote
        except ImportError as error:
            raise _not_installed(spec, "remote", error) from error
        return load_remote(spec, remote_hosts=remote_hosts)
    if spec.kind in ("torchvision", "timm", "torchscript", "torch-export"):
        try:
            from wavescope.models.torch_backend import load_torch
        except ImportError as error:
            raise _not_installed(spec, "torch", error) from error
        return load_torch(spec, threads=threads)
    try:
        from wavescope.models.embedded import load_embedded
        from wavescope.models.onnx_backend import load_onnx
    except ImportError as error:
        raise _not_installed(spec, "onnx", error) from error
    if spec.kind == "embedded":
        return load_embedded(spec, cache_dir=cache_dir, threads=threads)
    return load_onnx(spec, threads=threads)


def _not_installed(spec: ModelSpec, extra: str, error: ImportError) -> RegistryInvalid:
    return spec.invalid(
        "source", f"{spec.source!r} needs wavescope[{extra}], which is not installed: {error}", extra=extra
    )
