"""GPU utilization: CUDA graphs, a stream of its own for rendering, results read without waiting.

Nothing here is needed on a CPU, where each of these is the plain call.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType

import numpy as np
import torch
from jaxtyping import Float32

log = logging.getLogger(__name__)

# cuDNN and cuBLAS choose kernels and take workspaces in the first runs, which a capture cannot.
WARM_UP_RUNS = 3

Module = Callable[[torch.Tensor], torch.Tensor]
Mode = Callable[[], AbstractContextManager[object]]
Replay = Callable[[], torch.Tensor]
Record = Callable[[Module, torch.Tensor, Mode], Replay]


def record_graph(module: Module, images: torch.Tensor, mode: Mode) -> Replay:
    """``module(images)`` captured in a CUDA graph.

    Args:
        module: without synchronisation with the host.
        images: its input, at this address ever after.
        mode: what it runs in: precision, inference mode.

    Returns:
        What runs it again on what ``images`` hold by then; its result is overwritten by the next replay.

    Raises:
        RuntimeError: the module cannot be captured.
    """
    with torch.cuda.device(images.device), mode():
        main, side = torch.cuda.current_stream(), torch.cuda.Stream()
        side.wait_stream(main)
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                module(images)
        main.wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Other threads of a replica may allocate meanwhile.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            scores = module(images)

    def replay() -> torch.Tensor:
        graph.replay()
        return scores

    return replay


def record_compiled(module: Module, images: torch.Tensor, mode: Mode) -> Replay:
    """``module(images)`` by ``torch.compile``, which captures what can be captured; as :func:`record_graph`."""
    compiled = torch.compile(module, mode="reduce-overhead", dynamic=False)

    def replay() -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        with mode():
            return compiled(images)

    for _ in range(WARM_UP_RUNS):
        replay()
    return replay


# A graph first: it is there at once, and needs no compiler in the image.
RECORDS: Mapping[str, Record] = MappingProxyType({"CUDA graph": record_graph, "compiled": record_compiled})


class FixedBatch:
    """A module at one batch size; fewer images leave the last rows as they were.

    Every call runs the same kernels on the same shape, so that an image's scores do not depend on how many others
    came with it.

    Args:
        images: (batch, c, h, w), of which the memory is kept as the input.
        replay: scores of what ``images`` hold.
    """

    def __init__(self, images: Float32[torch.Tensor, "b c h w"], replay: Replay) -> None:
        self._images = images
        self._replay = replay
        self._one_at_a_time = threading.Lock()
        self._read = torch.cuda.Event() if images.device.type == "cuda" else None

    def __call__(self, images: Float32[torch.Tensor, "n c h w"]) -> Float32[torch.Tensor, "n classes"]:
        rows = images.shape[0]
        with self._one_at_a_time, torch.inference_mode():
            self._images[:rows].copy_(images)
            if self._read is not None:
                self._read.record(torch.cuda.current_stream(images.device))
            return self._replay()[:rows].to(torch.float32, copy=True)

    @property
    def read(self) -> torch.cuda.Event | None:
        """Event after which the images of the last call may be overwritten: they are copied, while the model runs."""
        return self._read


def fixed_batch(
    module: Module,
    images: Float32[torch.Tensor, "b c h w"],
    mode: Mode,
    *,
    name: str,
    records: Mapping[str, Record] = RECORDS,
) -> tuple[str, FixedBatch] | None:
    """The first way of ``records`` that works, and its name; ``None`` where none does.

    What failed is logged in one line, for the model runs all the same, only slower.

    Args:
        module: in evaluation mode, on the device.
        images: an example of the one batch that will be run; kept.
        mode: what to run it in.
        name: of the model.
        records: by the name that is reported.
    """
    failures: list[str] = []
    found: tuple[str, FixedBatch] | None = None
    for way, record in records.items():
        try:
            found = way, FixedBatch(images, record(module, images, mode))
            break
        except RuntimeError as error:
            failures.append(f"{way}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
    if failures:
        chosen = found[0] if found else "eager"
        log.warning("model %r runs as %s; failed: %s", name, chosen, "; ".join(failures))
    return found


class RenderStream:
    """A stream beside the model's, on which the next batch is rendered while the model scores the last.

    All that renders belongs within ``entered``, building the renderer too: only what is queued there is in order.

    Args:
        device: a CUDA device; on another, everything is in order anyway.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @contextlib.contextmanager
    def entered(self, read: torch.cuda.Event | None) -> Iterator[None]:
        """Queues on this stream what is done within; the model's stream then waits for it.

        Args:
            read: when the buffer that is rendered into has been read; ``None`` waits for the model's stream.
        """
        if self._stream is None:
            yield
            return
        model = torch.cuda.current_stream(self._device)
        if read is None:
            self._stream.wait_stream(model)
        else:
            self._stream.wait_event(read)
        try:
            with torch.cuda.stream(self._stream):
                yield
        finally:
            model.wait_stream(self._stream)


def to_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """``array`` as a tensor on the device; its dtype is kept."""
    # torch warns of memory it may not write to, which is what arrives through Ray.
    writable = array if array.flags.writeable else array.copy()
    return torch.from_numpy(np.ascontiguousarray(writable)).to(device)


def fetch(array: torch.Tensor) -> Callable[[], np.ndarray]:
    """Starts the copy of ``array`` to the host; the function returned waits for it alone, not for what is queued since.

    A copy asked for later would wait behind the next batch.
    """
    if array.device.type != "cuda":
        return array.numpy
    host = torch.empty(array.shape, dtype=array.dtype, pin_memory=True)
    host.copy_(array, non_blocking=True)
    copied = torch.cuda.Event()
    copied.record(torch.cuda.current_stream(array.device))

    def wait() -> np.ndarray:
        copied.synchronize()
        return host.numpy()

    return wait
