"""ONNX Runtime's errors in sentences; its own text has paths of its sources, and goes to the log alone."""

from __future__ import annotations

import re

from wavescope.errors import RegistryInvalid
from wavescope.models.faults import lacks_memory, logged_text
from wavescope.models.onnx.runtime import ort, ort_errors
from wavescope.models.spec import ModelSpec

RUNTIME = "ONNX Runtime"
# ONNX Runtime's exceptions share no base but Exception. Where it has no name for one, it raises RuntimeError.
RUN_ERRORS = (
    ort_errors.EngineError,
    ort_errors.EPFail,
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    RuntimeError,
)
LOAD_ERRORS = (
    *RUN_ERRORS,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.ModelLoaded,
    ort_errors.NoModel,
    ort_errors.NoSuchFile,
)

_IR = re.compile(r"IR version: (\d+), max supported IR version: (\d+)")
_OPSET = re.compile(
    r"Opset (\d+) is under development.*support for domain (\S+) is till opset (\d+)", re.DOTALL
)
_UNREGISTERED = re.compile(r"Fatal error: (\S*?):?(\w+)\(-?\d+\) is not a registered function/op")
_NO_DOMAIN = re.compile(r"In Node, \(\".*?\", (\w+), \"(.*?)\".*No opset import for domain", re.DOTALL)
_NO_OPERATOR = re.compile(r"No Op registered for (\w+) with domain_version of (\d+)")
_NO_KERNEL = re.compile(r"Could not find an implementation for (\w+)\(\d+\)")
_EXTERNAL = re.compile(r"external (data|initializer)|ExtData", re.IGNORECASE)


def load_reason(error: Exception, *, model: str) -> str:
    """The reason why ONNX Runtime does not load a file, and what to do; logs its own text."""
    text = logged_text(error, runtime=RUNTIME, model=model)
    version = f"ONNX Runtime {ort.__version__}"
    if found := _IR.search(text):
        return (
            f"its IR version is {found[1]}, and {version} reads up to {found[2]}: save it with an older onnx package,"
            " or install a newer onnxruntime"
        )
    if found := _OPSET.search(text):
        return (
            f"its opset of {found[2]} is {found[1]}, and {version} reads up to {found[3]}:"
            f" export it with opset {found[3]} or below"
        )
    if found := _UNREGISTERED.search(text):
        return _custom(found[2], found[1])
    if found := _NO_DOMAIN.search(text):
        return _custom(found[1], found[2])
    if found := _NO_OPERATOR.search(text):
        return f"its operator {found[1]} is none of opset {found[2]}, which it declares: export it with another opset"
    if found := _NO_KERNEL.search(text):
        return (
            f"{version} cannot run its operator {found[1]} on this device in this number format:"
            " export it in float32"
        )
    if _EXTERNAL.search(text):
        return (
            "it keeps weights in other files, of which one is missing, cut off or outside its folder:"
            " put them beside it, as they were saved"
        )
    if lacks_memory(text):
        return "there is not enough memory for it"
    if isinstance(error, ort_errors.InvalidProtobuf | ort_errors.NoModel) or "No graph was found" in text:
        return "it is no ONNX file, or damaged: export or fetch it again"
    return "its graph is not valid: export it again; onnx.checker.check_model(PATH) says what is wrong"


def probe_refusal(spec: ModelSpec, shape: tuple[int, ...], error: Exception) -> RegistryInvalid:
    """The error that says why a model does not run on images as preprocessing makes them, and what to do.

    Args:
        spec: of the model.
        shape: of the fewest images that it was run on: (images, channels, height, width).
        error: of ONNX Runtime, whose text is logged.
    """
    rows, channels, height, width = shape
    if lacks_memory(logged_text(error, runtime=RUNTIME, model=spec.name)):
        count = "one image" if rows == 1 else f"{rows} images, of which its file makes a batch"
        return spec.invalid(
            "source", f"there is not enough memory to run it on {count}: load it where there is more"
        )
    return spec.invalid(
        "preprocessing.size",
        f"the model does not run on images of {height} x {width} (height x width) with {channels} channels: give"
        " the size and the channels (mean, std) that it was made for",
    )


def _custom(operator: str, domain: str) -> str:
    return (
        f"its operator {operator} is a custom one, of the domain {domain or 'ai.onnx'}, and libraries of custom"
        " operators are not loaded: export it without"
    )
