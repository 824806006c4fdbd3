"""A classifier behind a protocol: batches of a size that is negotiated, some under way at once."""

from __future__ import annotations

import hashlib
import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple

import numpy as np
from jaxtyping import Float32

from wavescope.engine.types import ModelDetails, Outputs
from wavescope.errors import ModelChanged, ModelFailure, RemoteFailure
from wavescope.models.backend import (
    as_classes,
    check_scores,
    class_names,
    outputs_of,
    probe_images,
    threshold_of,
)
from wavescope.models.remote.address import Address, parse
from wavescope.models.remote.breaker import Breaker
from wavescope.models.remote.calling import Caller
from wavescope.models.remote.faults import Refused, TooLarge
from wavescope.models.remote.hosts import AllowedHosts, allowed_hosts
from wavescope.models.remote.http import Http
from wavescope.models.remote.kserve_v1 import KServeV1
from wavescope.models.remote.oip_grpc import OipGrpc
from wavescope.models.remote.oip_rest import OipRest
from wavescope.models.remote.options import RemoteOptions, check_files
from wavescope.models.remote.protocol import Client, Wire
from wavescope.models.remote.tensors import (
    DEFAULT_INPUT,
    DTYPES,
    PRECISIONS,
    Described,
    Scores,
    Tensor,
    as_scores,
)
from wavescope.models.revision import revision
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec

log = logging.getLogger(__name__)


class BatchLimit:
    """Limit of the images that the server takes at once, as far as is known; only ever lowered. For any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()

    @property
    def size(self) -> int:
        """Images of one batch."""
        return self._size

    def refused(self, rows: int) -> int:
        """The new size, after a batch of ``rows`` ≥ 2 was refused."""
        with self._lock:
            self._size = min(self._size, max(rows // 2, 1))
            return self._size


class RemoteBackend:
    """A classifier on a server, as a black box; images are sent normalised, as a local model would take them.

    One forward pass takes ``concurrency`` batches. The batch starts at the spec's size and is halved whenever the
    server says that it is too large, for as long as this object lives.

    Args:
        spec: of the model; ``batch_size``, ``labels`` and ``remote`` are honoured.
        client: of its server.
        caller: tries again.
        address: of the model, for the revision and messages.

    Raises:
        RegistryInvalid: the server's model is not a classifier as declared.
        RemoteFailure: the server refuses the request, or returns something else than scores.
        ModelUnavailable: the server does not answer.
    """

    def __init__(self, spec: ModelSpec, client: Client, caller: Caller, address: Address) -> None:
        self._spec = spec
        self._client = client
        self._caller = caller
        self._address = address
        self._options = spec.remote or RemoteOptions()
        self._preprocessing, outputs = spec.declared()
        described = self._asked_for_details()
        self._wire, self._fixed = self._negotiated(described)
        self._limit = BatchLimit(self._fixed or spec.batch_size or address.wire_protocol.batch_size)
        self._classes: int | None = None
        self._answered = ""
        self._stale = False
        scores = self._probe()
        warnings = check_scores(spec, outputs, scores)
        self._outputs: Outputs = outputs
        self._pool = ThreadPoolExecutor(self._options.concurrency, thread_name_prefix=f"remote-{spec.name}")
        self._details = ModelDetails(
            name=spec.name,
            preprocessing=self._preprocessing,
            outputs=outputs_of(outputs, scores.shape[1]),
            labels=class_names(spec, scores.shape[1], None),
            device="remote",
            precision=PRECISIONS[self._wire.datatype],
            runtime=address.wire_protocol.title
            + (f", {described.platform[:60]}" if described.platform else ""),
            batch_size=self._limit.size * self._options.concurrency,
            threshold=threshold_of(spec, scores.shape[1]),
            warnings=warnings,
            no_gradients="it is served elsewhere, and its protocol has none",
        )
        self._details = self._with_revision(described)

    @property
    def details(self) -> ModelDetails:
        """Details of the model; its batch is that of one forward pass, all that is under way at once."""
        return self._details

    @property
    def limit(self) -> BatchLimit:
        """Images of one request, as negotiated."""
        return self._limit

    @property
    def stale(self) -> bool:
        """Whether the server has gone over to another version of the model: this object has to be made anew."""
        return self._stale

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """``array`` itself."""
        return np.asarray(array)

    def forward(self, images: Float32[np.ndarray, "n c h w"]) -> Float32[np.ndarray, "n classes"]:
        """The raw outputs of normalised images, in order.

        Raises:
            ModelUnavailable: the server does not answer.
            RemoteFailure: it refuses, or returns something else than scores.
            ModelFailure: it returned something that is not a number.
            ModelChanged: its model is another one than when this object was made.
        """
        parts = _parts(images, self._limit.size)
        if len(parts) == 1:
            return as_classes(self._scored(images), self._outputs)
        futures = [self._pool.submit(self._scored, part) for part in parts]
        try:
            scores = np.concatenate([future.result() for future in futures])
            return as_classes(scores, self._outputs)
        finally:
            for future in futures:  # after a failure nothing more is sent
                future.cancel()

    def close(self) -> None:
        """Ends the connections."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _scored(self, images: np.ndarray) -> np.ndarray:
        rows = images.shape[0]
        limit = self._limit.size
        if rows > limit:  # lowered since
            return np.concatenate([self._scored(part) for part in _parts(images, limit)])
        try:
            return self._sent(images)
        except TooLarge as error:
            if rows == 1 or self._fixed:
                raise RemoteFailure(
                    f"model {self._spec.name!r}: {rows} images at once are too large for its server: {error.reason}",
                    field="model",
                    images=rows,
                ) from error
            size = self._limit.refused(rows)
            log.info(
                "model %r: %d images at once are too large for its server, from now on %d",
                self._spec.name,
                rows,
                size,
            )
        return self._scored(images)

    def _sent(self, images: np.ndarray) -> np.ndarray:
        rows = images.shape[0]
        padded = images
        if self._fixed and rows < self._fixed:
            padding = np.zeros((self._fixed - rows, *images.shape[1:]), images.dtype)
            padded = np.concatenate([images, padding])
        try:
            found = self._caller(lambda timeout_s: self._client.infer(padded, self._wire, timeout_s))
            scores = as_scores(found.values, padded.shape[0])[:rows]
        except Refused as error:
            raise self._failure(error.reason) from error
        except ArithmeticError as error:
            raise ModelFailure(
                f"model {self._spec.name!r} returned something that is not a number"
            ) from error
        self._check_same(found, scores.shape[1])
        return scores

    def _check_same(self, found: Scores, classes: int) -> None:
        if self._classes is None:
            self._classes, self._answered = classes, found.version
        if found.version != self._answered or classes != self._classes:
            self._stale = True
            raise ModelChanged(
                f"model {self._spec.name!r} was updated on its server while the request ran", field="model"
            )

    def _asked_for_details(self) -> Described:
        try:
            return self._caller(self._client.describe)
        except (Refused, TooLarge) as error:
            raise self._failure(error.reason) from error

    def _negotiated(self, described: Described) -> tuple[Wire, int | None]:
        """Format in which images are sent, and the size of the batch where the server's model has only one."""
        tensor = self._choose_tensor(described.inputs, self._options.input, "input", first=False)
        output = self._choose_tensor(described.outputs, self._options.output, "output", first=True)
        datatype = tensor.datatype if tensor is not None and tensor.datatype else "FP32"
        if datatype not in DTYPES:
            raise self._spec.invalid(
                "source",
                f"input {tensor.name if tensor else ''!r} is {datatype}; images are sent as {', '.join(DTYPES)}",
                allowed=list(DTYPES),
            )
        wire = Wire(
            input=self._options.input or (tensor.name if tensor else "") or DEFAULT_INPUT,
            datatype=datatype,
            output=self._options.output or (output.name if output else ""),
            layout=self._options.input_layout,
        )
        return wire, self._fixed_batch(tensor)

    def _choose_tensor(
        self, tensors: Sequence[Tensor], name: str | None, field: str, *, first: bool
    ) -> Tensor | None:
        """The tensor of that name; without one the only one, or the first one where that is allowed."""
        named = [tensor for tensor in tensors if name in (None, tensor.name)]
        if tensors and (not named or (len(named) > 1 and not first)):
            known = [tensor.name for tensor in tensors]
            reason = f"the server's model has {', '.join(known)}"
            raise self._spec.invalid(
                f"remote.{field}",
                f"{reason}, not {name!r}" if name else f"{reason}: name one",
                allowed=known,
            )
        return named[0] if named else None

    def _fixed_batch(self, tensor: Tensor | None) -> int | None:
        if tensor is None or len(tensor.shape) not in (3, 4):
            return None  # servers that do not know the shape make one up
        channels, height, width = self._preprocessing.shape
        expected = (
            (channels, height, width) if self._options.input_layout == "nchw" else (height, width, channels)
        )
        if any(found > 0 and found != side for found, side in zip(tensor.shape[-3:], expected, strict=True)):
            raise self._spec.invalid(
                "preprocessing",
                f"gives images of {expected} in {self._options.input_layout}, the server's input {tensor.name!r}"
                f" takes {tensor.shape[-3:]}",
                expected=list(tensor.shape[-3:]),
            )
        return tensor.shape[0] if len(tensor.shape) == 4 and tensor.shape[0] > 0 else None

    def _probe(self) -> np.ndarray:
        """Scores of a few images: proves the shapes, and finds out in what form the server takes them."""
        images = probe_images(self._preprocessing)
        return np.concatenate([self._scored(part) for part in _parts(images, self._limit.size)])

    def _with_revision(self, described: Described) -> ModelDetails:
        version = self._address.version or described.version or self._answered
        if not version:
            return self._details
        content = hashlib.sha256(repr((str(self._address), version, astuple(described))).encode())
        return revision(self._details, content.hexdigest())

    def _failure(self, reason: str) -> RemoteFailure:
        return RemoteFailure(f"model {self._spec.name!r}: {reason}", field="model")


def load_remote(spec: ModelSpec, options: LoadOptions) -> RemoteBackend:
    """The classifier at the URL that ``spec.source`` names.

    Args:
        spec: with ``source`` ``oip:<url>`` or ``kserve-v1:<url>``.
        options: with the hosts that may be asked, as of :func:`wavescope.models.remote.hosts.allowed_hosts`.

    Raises:
        RegistryInvalid: its host is not listed, a file or variable is missing, or it is no classifier as declared.
        RemoteFailure, ModelUnavailable: as of :class:`RemoteBackend`.
    """
    hosts = allowed_hosts(options.remote_hosts)
    remote = spec.remote or RemoteOptions()
    address = parse(spec.kind, spec.reference)
    if not hosts.admits(address.host, address.port):
        raise spec.invalid(
            "source",
            f"{address.authority} is not among the hosts of the setting remote_hosts"
            f" (WAVESCOPE_REMOTE_HOSTS): {', '.join(options.remote_hosts) or 'none are'}",
            allowed=list(options.remote_hosts),
        )
    try:
        check_files(remote)
        client = _CLIENTS[address.protocol](address, hosts, remote)
    except ValueError as error:
        field, _, reason = str(error).partition(": ")
        raise spec.invalid(f"remote.{field}", reason) from error
    caller = Caller(spec.name, retries=remote.retries, timeout_s=remote.timeout_s, breaker=Breaker())
    try:
        return RemoteBackend(spec, client, caller, address)
    except Exception:
        client.close()  # whoever waits for the server comes here again and again
        raise


_CLIENTS: dict[str, Callable[[Address, AllowedHosts, RemoteOptions], Client]] = {
    "oip-rest": lambda address, hosts, options: OipRest(address, Http(address, hosts, options)),
    "oip-grpc": OipGrpc,
    "kserve-v1": lambda address, hosts, options: KServeV1(address, Http(address, hosts, options)),
}


def _parts(images: np.ndarray, size: int) -> list[np.ndarray]:
    return [images[start : start + size] for start in range(0, images.shape[0], size)]
