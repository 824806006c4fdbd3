"""Whole models in files: TorchScript, and what ``torch.export`` saves.

Both hold a program, which their loaders run, so that the registry has to vouch for each file by its digest. Pickles in
them are never run: TorchScript's loader is in C++ and knows no functions of Python; that of ``torch.export`` would
unpickle, and is kept from it here.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float32

from wavescope.models.backend import check_file
from wavescope.models.file_types import TORCH_EXPORT, TORCHSCRIPT, FileType, check_type
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec
from wavescope.models.torch.backend import Built, TorchBackend, torch_device
from wavescope.models.torch.checkpoints import weights_only_loads
from wavescope.models.torch.faults import LOAD_ERRORS, load_reason
from wavescope.models.torch.outputs import find_scores, scores_at

# torch.export.load loads these by plain pickle, by torch's own unpickler of C++ objects, or as compiled libraries.
_FORBIDDEN = re.compile(r"(^|/)data/(constants/(custom_obj_|opaque_obj_)|aotinductor/)")
MANY_ROWS = 2**31


class Program(torch.nn.Module):
    """A loaded program as a module of one input and one output, which are the scores among what it returns.

    Args:
        run: the program.
        min_rows: that it takes at once; fewer are padded with zeros.
        output: the part of what it returns that has the scores; ``None`` for the one that can.
    """

    def __init__(self, run: torch.nn.Module, *, min_rows: int = 1, output: str | None = None) -> None:
        super().__init__()
        self._run = run
        self._min_rows = min_rows
        self._output = output
        self._place: tuple[str | int, ...] | None = None

    def forward(self, images: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n classes"]:
        rows = images.shape[0]
        if rows < self._min_rows:
            images = torch.cat([images, images.new_zeros((self._min_rows - rows, *images.shape[1:]))])
        # TorchScript would go over to other kernels after its first runs, and an image's scores with it.
        with torch.jit.optimized_execution(False):  # pyright: ignore[reportPrivateImportUsage]
            output = self._run(images)
        if self._place is None:
            self._place = find_scores(output, images.shape[0], self._output)
        return scores_at(output, self._place)[:rows]


def load_torchscript(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The classifier in the TorchScript file that ``spec.source`` names; errors as of :func:`build_torchscript`."""
    return TorchBackend(spec, build_torchscript(spec, torch_device(spec)), threads=options.threads)


def load_exported(spec: ModelSpec, options: LoadOptions) -> TorchBackend:
    """The classifier in the exported program that ``spec.source`` names; errors as of :func:`build_exported`."""
    return TorchBackend(spec, build_exported(spec, torch_device(spec)), threads=options.threads)


def build_torchscript(spec: ModelSpec, device: torch.device) -> Built:
    """The classifier in a TorchScript file, on ``device``.

    Raises:
        WeightsUnavailable: there is no such file.
        RegistryInvalid: its digest is another one, or it is no TorchScript.
    """
    path = _check_program_file(spec, TORCHSCRIPT)
    preprocessing, _ = spec.declared()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of its end, which the documentation announces
            module = torch.jit.load(path, map_location=device).eval()
    except LOAD_ERRORS as error:
        raise _unusable(spec, path, "TorchScript file", error) from error
    # Activations are quantised by one scale of the whole batch, so that images would change each other.
    quantised = "_dynamic(" in str(module.inlined_graph)
    return Built(
        Program(module, output=spec.output),
        preprocessing,
        None,
        program=True,
        max_rows=1 if quantised else None,
    )


def build_exported(spec: ModelSpec, device: torch.device) -> Built:
    """The classifier that ``torch.export.save`` wrote, on ``device``; of any batch size, or of the one it was made for.

    Raises:
        WeightsUnavailable: there is no such file.
        RegistryInvalid: its digest is another one, or it is no exported program of tensors alone.
    """
    path = _check_program_file(spec, TORCH_EXPORT)
    preprocessing, _ = spec.declared()
    try:
        with zipfile.ZipFile(path) as archive:
            forbidden = [name for name in archive.namelist() if _FORBIDDEN.search(name)]
        if forbidden:
            raise spec.invalid(
                "source",
                f"{str(path)!r} holds {forbidden[0]!r}: pickled objects and compiled code are not loaded",
            )
        with weights_only_loads():
            program = torch.export.load(path)
        fewest, most = _rows(program, _input(spec, program))
        if device.type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        module = program.module()
    except LOAD_ERRORS as error:
        raise _unusable(spec, path, "exported program", error) from error
    found = Program(module, min_rows=fewest, output=spec.output)
    return Built(found, preprocessing, None, program=True, max_rows=most)


def _check_program_file(spec: ModelSpec, expected: FileType) -> Path:
    path = Path(spec.reference)
    check_type(spec, path, field="source", expected=(expected,))
    return check_file(spec, path, field="source")


def _input(spec: ModelSpec, program: torch.export.ExportedProgram) -> torch.Tensor:
    """The images that a program was exported with, in shape and type; lengths that it leaves free are symbols.

    Raises:
        RegistryInvalid: it takes something else, or images of another shape than preprocessing makes.
    """
    names: Any = program.graph_signature.user_inputs
    if len(names) != 1:
        raise spec.invalid("source", f"a classifier has one input, this program {len(names)}")
    (node,) = (node for node in program.graph.nodes if node.name == names[0])
    value: Any = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.ndim != 4:
        raise spec.invalid(
            "source", "not a classifier of images: its input is no (batch, channels, height, width)"
        )
    if value.dtype != torch.float32:
        dtype = str(value.dtype).removeprefix("torch.")
        raise spec.invalid(
            "source", f"its images are {dtype}, and here they are float32: export it after model.float()"
        )
    preprocessing, _ = spec.declared()
    shape: tuple[Any, ...] = tuple(value.shape[1:])
    if any(
        isinstance(side, int) and side != given
        for side, given in zip(shape, preprocessing.shape, strict=True)
    ):
        listed = ", ".join(str(side) if isinstance(side, int) else "any" for side in shape)
        raise spec.invalid(
            "preprocessing",
            f"the model does not run on images of {preprocessing.shape}: it was exported for ({listed}):"
            " give that size, and as many numbers of mean and std as channels",
        )
    return value


def _rows(program: torch.export.ExportedProgram, images: torch.Tensor) -> tuple[int, int | None]:
    """(fewest, most) images that a program takes at once; ``None`` for any number."""
    rows: Any = images.shape[0]
    if isinstance(rows, int):
        return rows, rows
    found = program.range_constraints.get(rows.node.expr)
    if found is None:
        return 1, None
    # Unbounded is an infinity of torch's own.
    return max(int(found.lower), 1), int(found.upper) if found.upper < MANY_ROWS else None


def _unusable(spec: ModelSpec, path: Path, what: str, error: Exception) -> Exception:
    return spec.invalid(
        "source", f"{str(path)!r} is not a usable {what}: {load_reason(error, model=spec.name)}"
    )
