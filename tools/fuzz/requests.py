"""HTTP requests as bytes: sound ones with something wrong in their body, headers, address or framing."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from PIL import Image
from tests.fuzz.images import mutated_files
from tests.fuzz.pictures import drawn_files
from tests.imaging import expensive
from tools.fuzz.hostile import TOKENS, damaged, damaged_json, text

from wavescope.ingress.openapi.request_examples import TINY_PNG

MODEL = "efficientnet-lite0"
DEAR = 0.03  # of the image files: those that are sound, and cost much
DRAWN = 0.4  # and those of any type of samples, mode, bits, profile and format
IMAGE = {"base64": TINY_PNG}
CHEAP = {"kind": "sobol", "plan": "full", "grid_size": 2, "nb_design": 2}
TENSOR = {"name": "image", "datatype": "BYTES", "shape": [1], "data": [TINY_PNG]}
# Sound requests in JSON, by their address.
DOCUMENTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/explanations", {"image": IMAGE, **CHEAP}),
    ("/v1/explanations", {"images": [IMAGE, IMAGE], "targets": [[1, "tabby"], [None]], **CHEAP}),
    ("/v1/explanations", {"image": IMAGE, "kind": "profile", "nb_design": 2, "wavelet": "db2", "levels": 1}),
    ("/v1/explanations", {"image": IMAGE, "plan": "adaptive", "max_forwards": 32, "deadline_s": 1, "top_k": 2}),
    ("/v1/explanations", {"image": IMAGE, "other": IMAGE, **CHEAP, "kind": "compare"}),
    ("/v1/explanations:estimate", {"image": IMAGE, "target": 1, "seed": 1, "faithfulness": False}),
    ("/v1/predictions", {"images": [IMAGE], "model": MODEL, "top_k": 3}),
    ("/v1/jobs", {"image": IMAGE, **CHEAP}),
    (f"/v1/models/{MODEL}:predict", {"instances": [{"b64": TINY_PNG}], "parameters": {"top_k": 2}}),
    (f"/v1/models/{MODEL}:predict", {"instances": [[[[1, 2, 3], [4, 5, 6]]]]}),
    (f"/v1/models/{MODEL}:explain", {"instances": [{"image": IMAGE}], "parameters": CHEAP}),
    (f"/v2/models/{MODEL}/infer", {"inputs": [TENSOR], "id": "1", "outputs": [{"name": "outputs"}]}),
    (
        f"/v2/models/{MODEL}/infer",
        {"inputs": [{"name": "image", "datatype": "UINT8", "shape": [1, 2, 1, 3], "data": [1, 2, 3, 4, 5, 6]}]},
    ),
    (
        f"/v2/models/{MODEL}-sobol/infer",
        {"inputs": [TENSOR], "parameters": {"grid_size": "2", "nb_design": 2, "binary_data_output": True}},
    ),
    ("/v2/repository/index", {"ready": True}),
)  # fmt: skip
ADDRESSES = (
    "/", "/livez", "/readyz", "/metrics", "/openapi.json", "/docs", "/docs/swagger-ui.css", "/v1/models",
    f"/v1/models/{MODEL}", "/v1/jobs/x", "/v1/jobs/x/events", "/v1/jobs/x/result", "/v2", "/v2/health/live",
    "/v2/health/ready", f"/v2/models/{MODEL}", f"/v2/models/{MODEL}/ready", f"/v2/models/{MODEL}/versions/1/ready",
)  # fmt: skip
PIECES = (
    "..", ".", "//", "%2e%2e", "%00", "%ff", "%c0%af", "%", "%zz", "\\", ";a=b", "?", "?a=%00", "#x", ":", ":explain",
    ":predict", "*", "~", "%F0%9F%98%80", "a" * 2000, "/-/routes", "/-/healthz", "'--", "{name}", "+", "%0d%0aX:%201",
)  # fmt: skip
METHODS = (
    "GET",
    "POST",
    "PUT",
    "PATCH",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "PROPFIND",
    "get",
    "X",
    "A" * 300,
)
HEADERS = (
    "Accept", "Idempotency-Key", "Cache-Control", "Wavescope-Priority", "X-Request-ID", "Authorization", "X-API-Key",
    "Origin", "Referer", "Range", "If-None-Match", "Cookie", "Content-Encoding", "Inference-Header-Content-Length",
    "X-Request-Timeout-Seconds", "X-Request-Disconnect-Disabled", "Serve-Multiplexed-Model-Id", "X-Session-ID",
    "X-Serve-Router-Key", "X-Forwarded-For", "X-Forwarded-Proto", "Expect", "TE", "Traceparent", "Content-Language",
)  # fmt: skip
ACCEPTS = (
    "text/event-stream", "image/png", "application/x-npz", "*/*;q=0", "image/*;q=0.1, text/*", "application/json;q=x",
    ",", "a/b/c", "*/json", "application/json;" * 300,
)  # fmt: skip
TYPES = (
    "", "text/plain", "application/json; charset=utf-16", "application/json;;", "multipart/form-data",
    "multipart/form-data; boundary=", "multipart/form-data; boundary=" + "b" * 300, "application/octet-stream", "a",
    "application/x-www-form-urlencoded", "multipart/mixed; boundary=b", "application/json\tx", "\xff/\xfe",
)  # fmt: skip
LENGTHS = ("-1", "+5", "0", "1e3", "0x10", "9" * 30, "5, 5", "", " 7 ", "18446744073709551616")
ENDLESS_BYTES = 2**20
BOUNDARY = "b0undary"


@dataclass(frozen=True, slots=True)
class Shot:
    """One request.

    Attributes:
        what: is wrong with it.
        method: of HTTP.
        content: from the first line to the end of the body.
        whole: whether it is framed as HTTP asks, so that an answer must come; after another the sending side is closed.
    """

    what: str
    method: str
    content: bytes
    whole: bool = True


@dataclass
class Draft:
    """A request before it is written."""

    path: str
    method: str = "POST"
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def shot(self, what: str, *, whole: bool = True, length: bool = True) -> Shot:
        """The request as bytes; ``length`` declares that of the body."""
        headers = [("Host", "127.0.0.1"), ("Connection", "close"), *self.headers]
        if length and (self.body or self.method == "POST"):
            headers.append(("Content-Length", str(len(self.body))))
        lines = [
            f"{self.method} {self.path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in headers),
            "",
            "",
        ]
        return Shot(what, self.method, "\r\n".join(lines).encode("latin-1") + self.body, whole)


def shots(seed: int) -> Iterator[Shot]:
    """Without end: requests with something wrong in them."""
    rng, files = random.Random(f"http {seed}"), mutated_files(seed)
    kinds: tuple[tuple[int, Callable[[], Shot]], ...] = (
        (35, lambda: _wrong_document(rng)),
        (10, lambda: _wrong_file(rng, next(files))),
        (9, lambda: _wrong_parts(rng)),
        (6, lambda: _wrong_tensor(rng)),
        (14, lambda: _wrong_headers(rng)),
        (5, lambda: _wrong_type(rng)),
        (12, lambda: _wrong_address(rng)),
        (6, lambda: _wrong_framing(rng)),
        (3, lambda: _endless(rng)),
    )
    while True:
        yield rng.choices([make for _, make in kinds], [share for share, _ in kinds])[0]()


def files_sent(seed: int) -> Iterator[Shot]:
    """Without end: damaged image files, drawn ones, and those that cost much, in every place that takes one."""
    rng, files, drawn = random.Random(f"files {seed}"), mutated_files(seed), drawn_files(seed)
    while True:
        share = rng.random()
        if share < DEAR:
            yield _wrong_file(rng, rng.choice(dear()))
        else:
            yield _wrong_file(rng, next(drawn if share < DEAR + DRAWN else files))


@cache
def dear() -> tuple[bytes, ...]:
    """Small files whose decoding costs seconds of a processor: within the limits, and beyond them."""
    return (
        expensive.encoded(Image.new("RGB", (3800, 3800)), "JPEG2000"),
        expensive.jpeg2000(8000, 7999),
        expensive.png(2500, 2400),
        expensive.progressive(3800, 3800, scans=100),
    )


def _document(rng: random.Random) -> Draft:
    path, document = rng.choice(DOCUMENTS)
    return Draft(path, headers=[("Content-Type", "application/json")], body=json.dumps(document).encode())


def _wrong_document(rng: random.Random) -> Shot:
    path, document = rng.choice(DOCUMENTS)
    body = rng.choice(TOKENS) if rng.random() < 0.05 else damaged_json(document, rng)
    return Draft(path, headers=[("Content-Type", "application/json")], body=body).shot("document")


def _wrong_file(rng: random.Random, file: bytes) -> Shot:
    told = base64.b64encode(file).decode("ascii")
    match rng.randrange(6):
        case 0:
            path, document = "/v1/explanations", {"image": {"base64": told}, **CHEAP}
        case 1:
            path, document = "/v1/predictions", {"image": {"base64": told}}
        case 2:
            path, document = f"/v1/models/{MODEL}:predict", {"instances": [{"b64": told}]}
        case 3:
            path, document = f"/v2/models/{MODEL}/infer", {"inputs": [TENSOR | {"data": [told]}]}
        case 4:
            return _parts([("image", "x.png", file)], "/v1/predictions").shot("file")
        case _:
            return _binary(len(file).to_bytes(4, "little") + file).shot("file")
    return Draft(
        path, headers=[("Content-Type", "application/json")], body=json.dumps(document).encode()
    ).shot("file")


def _parts(parts: list[tuple[str, str | None, bytes]], path: str = "/v1/explanations") -> Draft:
    body = b""
    for name, filename, content in parts:
        named = "" if filename is None else f'; filename="{filename}"'
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
        body += head.encode("utf-8", "surrogatepass") + content + b"\r\n"
    body += f"--{BOUNDARY}--\r\n".encode()
    return Draft(path, headers=[("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")], body=body)


def _wrong_parts(rng: random.Random) -> Shot:
    image, request = base64.b64decode(TINY_PNG), json.dumps(CHEAP).encode()
    path = rng.choice(("/v1/explanations", "/v1/jobs", "/v1/explanations:estimate"))
    parts: list[tuple[str, str | None, bytes]] = [
        ("image", "a.png", image),
        ("request", None, request),
    ]
    match rng.randrange(7):
        case 0:
            parts[1] = ("request", None, damaged_json(CHEAP, rng))
        case 1:
            parts *= rng.choice((2, 40, 1100))
        case 2:
            name = rng.choice(("", "x", "\0", "ä" * 80, "images", "other", 'a"b', "A" * 5000))
            parts[0] = (name, rng.choice(("", "\u202e.png", "../a", None)), image)
        case 3:
            parts[0] = ("image", None, rng.randbytes(30))
        case 4:
            parts = [] if rng.random() < 0.3 else parts[:1]
        case _:
            draft = _parts(parts, path)
            draft.body = damaged(draft.body, rng)
            return draft.shot("parts")
    return _parts(parts, path).shot("parts")


def _binary(content: bytes, told: Any = None, size: Any = None) -> Draft:
    """A tensor in binary behind its description; ``told`` and ``size`` in place of the true lengths."""
    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    told_size = len(content) if size is None else size
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": told_size}}]}).encode()
    length = str(len(head) if told is None else told)
    headers = [("Content-Type", "application/octet-stream"), ("Inference-Header-Content-Length", length)]
    return Draft(f"/v2/models/{MODEL}/infer", headers=headers, body=head + content)


def _wrong_tensor(rng: random.Random) -> Shot:
    image = base64.b64decode(TINY_PNG)
    content = rng.choice((len(image), 0, 2**32 - 1, 5)).to_bytes(4, "little") + image
    told = rng.choice((None, 0, -1, 1, 50, 10**6, 10**40, "x", "", "1 1", "٣".encode().decode("latin-1")))
    size = rng.choice((None, 0, -1, 10**9, 2**70, 1.5, "3", None, [1], {}))
    draft = _binary(content, told, size)
    if rng.random() < 0.3:
        draft.body = damaged(draft.body, rng)
    return draft.shot("tensor")


def _wrong_headers(rng: random.Random) -> Shot:
    draft = _document(rng) if rng.random() < 0.6 else Draft(rng.choice(ADDRESSES), "GET")
    for _ in range(rng.randint(1, 4)):
        name = rng.choice(HEADERS)
        value = rng.choice(ACCEPTS) if name == "Accept" and rng.random() < 0.7 else text(rng)
        draft.headers += [(name, value)] * rng.choice((1, 1, 1, 2))
    if rng.random() < 0.1:
        draft.headers += [(f"X-{number}", "x") for number in range(rng.choice((100, 1000)))]
    if rng.random() < 0.05:
        draft.headers.append(("Host", rng.choice(("evil.example", "", "[::1", "127.0.0.1:99999", "a b"))))
    if rng.random() < 0.05:
        draft.headers += [("Upgrade", rng.choice(("websocket", "h2c"))), ("Sec-WebSocket-Key", "AAAA")]
    return draft.shot("headers")


def _wrong_type(rng: random.Random) -> Shot:
    draft = _document(rng)
    draft.headers = [("Content-Type", rng.choice(TYPES))] * rng.choice((0, 1, 1, 1, 2))
    return draft.shot("content type")


def _wrong_address(rng: random.Random) -> Shot:
    path = rng.choice((*ADDRESSES, *(path for path, _ in DOCUMENTS)))
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(1, len(path) + 1)
        path = path[:at] + rng.choice(PIECES) + path[at + rng.randint(0, 3) :]
    if rng.random() < 0.1:
        path = rng.choice((f"http://127.0.0.1{path}", "*", "x", "//", f"//evil.example{path}"))
    return Draft(path.replace(" ", ""), rng.choice(METHODS)).shot("address")


def _wrong_framing(rng: random.Random) -> Shot:
    draft = _document(rng)
    match rng.randrange(6):
        case 0:
            draft.headers.append(("Content-Length", str(len(draft.body) + rng.randint(1, 10**6))))
        case 1:
            draft.headers.append(("Content-Length", rng.choice(LENGTHS)))
        case 2:
            draft.headers += [("Content-Length", "5"), ("Transfer-Encoding", "chunked")]
        case 3:
            draft.headers.append(
                ("Transfer-Encoding", rng.choice(("chunked", "gzip, chunked", "x", "chunked, chunked")))
            )
            size = rng.choice((b"5", b"-5", b"FFFFFFFFFFFFFFFF1", b"zz", b"5;" + b"x" * 9000, b""))
            draft.body = (
                size + b"\r\n" + draft.body + rng.choice((b"\r\n0\r\n\r\n", b"", b"\r\n0\r\nX: y\r\n\r\n"))
            )
        case 4:
            shot = draft.shot("framing", whole=False)
            return Shot(
                "framing", shot.method, shot.content[: rng.randrange(1, len(shot.content))], whole=False
            )
        case _:
            shot = draft.shot("framing", whole=False)
            return Shot("framing", shot.method, damaged(shot.content, rng), whole=False)
    return draft.shot("framing", whole=False, length=False)


def _endless(rng: random.Random) -> Shot:
    """A body in chunks that does not end, over every limit of the service under test."""
    draft = _document(rng)
    draft.headers.append(("Transfer-Encoding", "chunked"))
    size = rng.choice((1, 1000, 60_000))
    count = min(ENDLESS_BYTES // size, 20_000)
    draft.body = (b"%x\r\n" % size + b" " * size + b"\r\n") * count
    return draft.shot("endless", whole=False, length=False)
