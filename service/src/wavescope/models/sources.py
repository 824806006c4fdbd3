"""Kinds of model sources, one record each in :data:`SOURCES`: what stands before the colon of ``source``.

A new backend is a module with a loader, and a record here. The chart's schema and ``docs/models.md`` name the same
kinds, which tests compare with the records.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from wavescope.engine.protocols import Classifier
    from wavescope.models.spec import ModelSpec

Reference = Literal["NAME", "PATH", "URL"]
Runtime = Literal["ONNX Runtime", "torch", "remote"]

ON_TORCH = ("auto", "cpu", "cuda")
ON_ONNX_RUNTIME = ("auto", "cpu", "cuda", "tensorrt")
ON_A_SERVER = ("auto", "cpu")


@dataclass(frozen=True, slots=True)
class LoadOptions:
    """Options of a loader beside the specification; each takes what it needs.

    Attributes:
        cache_dir: where the embedded model's exported file is kept.
        threads: of the CPU runtime; ``None`` takes the spec's own.
        remote_hosts: that a model served elsewhere may be on; of none listed, it may be on none.
    """

    cache_dir: Path
    threads: int | None = None
    remote_hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceKind:
    """A kind of model sources, with all that depends on which one it is.

    Attributes:
        name: before the colon of ``source``.
        reference: what follows the colon: a name, the path of a file that holds the whole model, or the URL of a model
            that is served elsewhere.
        description: what it is, with its article, for messages.
        runtime: that runs it.
        extra: of the distribution, ``wavescope[extra]``, that brings the runtime.
        devices: that ``device`` may name.
        loader: ``module:function`` that loads a specification with :class:`LoadOptions`; imported when it is needed, so
            that a model on ONNX Runtime never imports torch.
        files: ``module:function`` that names the files of a specification, given the cache folder; ``None`` for the
            one file that the reference names.
        program: whether it is a program, which the registry has to vouch for by its digest.

    Example:
        >>> [kind.name for kind in SOURCES.values() if kind.program]
        ['torchscript', 'torch-export']
    """

    name: str
    reference: Reference
    description: str
    runtime: Runtime
    extra: str
    devices: tuple[str, ...]
    loader: str
    files: str | None = None
    program: bool = False

    @property
    def whole_file(self) -> bool:
        """Whether the source is a file that holds the whole model."""
        return self.reference == "PATH"

    @property
    def remote(self) -> bool:
        """Whether the model is served elsewhere."""
        return self.reference == "URL"

    @property
    def describes_itself(self) -> bool:
        """Whether preprocessing and outputs come with the model; else the registry has to declare them."""
        return self.reference == "NAME"

    def import_loader(self) -> Callable[[ModelSpec, LoadOptions], Classifier]:
        """The loader.

        Raises:
            ImportError: the runtime is not installed.
        """
        return resolve_name(self.loader)

    def files_of(self, spec: ModelSpec, cache_dir: Path) -> tuple[Path, ...]:
        """The files that loading a model reads, whether or not they are there yet.

        Raises:
            ImportError: what knows the files is not installed.
        """
        return (Path(spec.reference),) if self.files is None else resolve_name(self.files)(spec, cache_dir)


# Every kind by its name, in the order in which messages and documents list them.
SOURCES: dict[str, SourceKind] = {
    kind.name: kind
    for kind in (
        SourceKind(
            name="embedded",
            reference="NAME",
            description="the embedded model",
            runtime="ONNX Runtime",
            extra="onnx",
            devices=ON_ONNX_RUNTIME,
            loader="wavescope.models.onnx.embedded:load_embedded",
            files="wavescope.models.onnx.embedded:embedded_files",
        ),
        SourceKind(
            name="torchvision",
            reference="NAME",
            description="a torchvision model",
            runtime="torch",
            extra="torch",
            devices=ON_TORCH,
            loader="wavescope.models.torch.zoos:load_torchvision",
            files="wavescope.models.torch.zoos:torchvision_files",
        ),
        SourceKind(
            name="timm",
            reference="NAME",
            description="a timm model",
            runtime="torch",
            extra="torch",
            devices=ON_TORCH,
            loader="wavescope.models.torch.zoos:load_timm",
            files="wavescope.models.torch.zoos:timm_files",
        ),
        SourceKind(
            name="onnx",
            reference="PATH",
            description="an ONNX file",
            runtime="ONNX Runtime",
            extra="onnx",
            devices=ON_ONNX_RUNTIME,
            loader="wavescope.models.onnx.backend:load_onnx",
            files="wavescope.models.onnx.external_files:onnx_files",
        ),
        SourceKind(
            name="torchscript",
            reference="PATH",
            description="a TorchScript file",
            runtime="torch",
            extra="torch",
            devices=ON_TORCH,
            loader="wavescope.models.torch.programs:load_torchscript",
            program=True,
        ),
        SourceKind(
            name="torch-export",
            reference="PATH",
            description="an exported program",
            runtime="torch",
            extra="torch",
            devices=ON_TORCH,
            loader="wavescope.models.torch.programs:load_exported",
            program=True,
        ),
        SourceKind(
            name="oip",
            reference="URL",
            description="a model that is served elsewhere",
            runtime="remote",
            extra="remote",
            devices=ON_A_SERVER,
            loader="wavescope.models.remote.backend:load_remote",
            files="wavescope.models.remote.options:certificate_files",
        ),
        SourceKind(
            name="kserve-v1",
            reference="URL",
            description="a model that is served elsewhere",
            runtime="remote",
            extra="remote",
            devices=ON_A_SERVER,
            loader="wavescope.models.remote.backend:load_remote",
            files="wavescope.models.remote.options:certificate_files",
        ),
    )
}
