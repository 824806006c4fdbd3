"""A remote model behind a server that can misbehave: batches, headers, replies that are not scores."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.polling import DEADLINE_S
from tests.remote.conftest import free_ports
from tests.remote.fake_server import (
    CLASSES,
    INPUT,
    LENGTH,
    METADATA,
    SIDE,
    Answer,
    Asked,
    FakeServer,
    answer,
    binary,
    scores,
    serving,
    well,
)

import wavescope
import wavescope.settings
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Preprocessing
from wavescope.errors import ModelChanged, ModelFailure, ModelUnavailable, RegistryInvalid, RemoteFailure
from wavescope.models.remote.backend import RemoteBackend, load_remote
from wavescope.models.remote.http import MAX_REPLY_BYTES, Http
from wavescope.models.remote.options import Header, RemoteOptions
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import ModelSpec

PREPROCESSING = Preprocessing(size=(SIDE, SIDE), resize=None)


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    with serving() as server:
        yield server


def backend(source: str | FakeServer, *, batch_size: int | None = None, **options: Any) -> RemoteBackend:
    if isinstance(source, FakeServer):
        source = f"oip:{source.url}"
    fields = {"attempts": 1, "timeout_s": DEADLINE_S} | options
    spec = ModelSpec(
        name="toy",
        source=source,
        preprocessing=PREPROCESSING,
        outputs="logits",
        batch_size=batch_size,
        remote=RemoteOptions(**fields),
    )
    return load_remote(spec, LoadOptions(Path("unused"), remote_hosts=("127.0.0.1", "localhost")))


def images(rows: int) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, 3, SIDE, SIDE), dtype=np.float32)


def scoring(change: Callable[[Asked], Answer]) -> Callable[[Asked], Answer]:
    """A server that works but for what it answers to images."""
    return lambda asked: change(asked) if asked.method == "POST" else well(asked)


def test_scores_come_in_the_order_of_the_images_in_batches_of_the_size_asked_for(fake: FakeServer) -> None:
    model = backend(fake, batch_size=4, concurrency=3)
    assert isinstance(model, Classifier)
    assert model.details.batch_size == 12
    assert model.details.no_gradients == "it is served elsewhere, and its protocol has none"
    fake.asked.clear()
    given = images(21)
    np.testing.assert_array_equal(model.forward(given), scores(given))
    assert sorted(fake.batches) == [1, 4, 4, 4, 4, 4]


def test_batches_are_under_way_at_once_up_to_the_limit(fake: FakeServer) -> None:
    """A server that answers three requests only once it has all three: fewer at once would not end."""
    model = backend(fake, batch_size=2, concurrency=3)
    together = threading.Barrier(3, timeout=DEADLINE_S)
    most, now, lock = [0], [0], threading.Lock()

    def behave(asked: Asked) -> Answer:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        together.wait()
        with lock:
            now[0] -= 1
        return well(asked)

    fake.behave = behave
    given = images(12)
    np.testing.assert_array_equal(model.forward(given), scores(given))
    assert most[0] == 3


@pytest.mark.parametrize(
    "refusal",
    [
        Answer(413),
        answer({"error": "inference request batch-size must be <= 3 for 'toy'"}, 400),
        answer({"error": "Request body is too large"}, 400),
    ],
)
def test_the_batch_is_halved_where_it_is_refused_and_stays_so(fake: FakeServer, refusal: Answer) -> None:
    fake.behave = scoring(lambda asked: refusal if len(asked.images) > 3 else well(asked))
    model = backend(fake, batch_size=16, concurrency=1)
    given = images(16)
    np.testing.assert_array_equal(model.forward(given), scores(given))
    assert model.limit.size == 2
    fake.asked.clear()
    model.forward(given)
    assert fake.batches == [2] * 8


def test_batches_refused_at_once_halve_the_size_once(fake: FakeServer) -> None:
    """Four batches of eight, all refused: the size goes to four, not to a half of a half of a half."""
    model = backend(fake, batch_size=8, concurrency=4)
    fake.behave = scoring(lambda asked: Answer(413) if len(asked.images) > 4 else well(asked))
    given = images(32)
    np.testing.assert_array_equal(model.forward(given), scores(given))
    assert model.limit.size == 4


def test_one_image_that_is_too_large_is_an_error(fake: FakeServer) -> None:
    fake.behave = scoring(lambda _: Answer(413))
    with pytest.raises(RemoteFailure, match=r"1 images at once are too large .* answered 413"):
        backend(fake)


def test_a_server_with_a_batch_of_its_own_gets_it_padded(fake: FakeServer) -> None:
    fixed = {**METADATA, "inputs": [{**INPUT, "shape": [4, 3, SIDE, SIDE]}]}
    fake.behave = lambda asked: answer(fixed) if asked.path == "/v2/models/toy" else well(asked)
    model = backend(fake, batch_size=16)
    given = images(6)
    np.testing.assert_array_equal(model.forward(given), scores(given))
    assert set(fake.batches) == {4}


def test_a_server_that_is_busy_is_asked_again(fake: FakeServer) -> None:
    model = backend(fake, attempts=3)
    left = [answer({"error": "busy"}, 429, Retry_After="0"), answer({"error": "starting"}, 503)]
    fake.behave = scoring(lambda asked: left.pop() if left else well(asked))
    np.testing.assert_array_equal(model.forward(images(2)), scores(images(2)))


@pytest.mark.parametrize(
    ("reply", "seconds"),
    [
        (answer({"error": "busy"}, 429, Retry_After="70"), 70),
        (Answer(503), 1),
        (Answer(503, b"", {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1),
        (Answer(503, b"", {"Retry-After": "soon"}), 1),
        (Answer(502), 1),
        (Answer(504), 1),
    ],
)
def test_a_server_that_stays_busy_is_unavailable(fake: FakeServer, reply: Answer, seconds: float) -> None:
    model = backend(fake)
    fake.behave = lambda _: reply
    with pytest.raises(ModelUnavailable, match=f"answered {reply.status}") as caught:
        model.forward(images(2))
    assert caught.value.limits["retry_after_s"] == seconds


@pytest.mark.parametrize("scheme", ["oip:http", "oip:grpc", "kserve-v1:http"])
def test_nobody_there_is_unavailable_at_once(scheme: str) -> None:
    (port,) = free_ports(1)
    path = {"oip:http": "/v2/models/toy", "oip:grpc": "/toy", "kserve-v1:http": "/v1/models/toy"}[scheme]
    with pytest.raises(ModelUnavailable, match=f"127.0.0.1:{port}"):
        backend(f"{scheme}://127.0.0.1:{port}{path}")


def test_a_name_with_two_addresses_is_tried_at_both(fake: FakeServer) -> None:
    """``localhost`` may be ::1 first, where the server does not listen."""
    source = f"oip:http://localhost:{fake.port}/v2/models/toy"
    np.testing.assert_array_equal(backend(source).forward(images(2)), scores(images(2)))
    assert fake.asked[-1].headers["host"] == f"localhost:{fake.port}"


def test_the_settings_say_which_hosts_may_be_asked(fake: FakeServer) -> None:
    spec = ModelSpec(name="toy", source=f"oip:{fake.url}", preprocessing=PREPROCESSING, outputs="logits")
    settings = wavescope.settings.load_settings(remote_hosts=f"models.example.org, {fake.host}")
    given = images(2)
    np.testing.assert_array_equal(wavescope.load_model(spec, settings=settings).forward(given), scores(given))
    with pytest.raises(RegistryInvalid, match="is not among the hosts"):
        wavescope.load_model(spec, settings=wavescope.settings.load_settings())


def test_redirects_are_not_followed(fake: FakeServer) -> None:
    with serving() as other:
        model = backend(fake)
        fake.behave = lambda _: Answer(307, b"", {"Location": f"http://{other.host}/v2/models/toy/infer"})
        with pytest.raises(RemoteFailure, match="answered 307, a redirect, which is not followed"):
            model.forward(images(2))
        assert other.asked == []


def test_the_environments_proxy_is_not_used(fake: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """It could reach what the list of hosts does not admit."""
    with serving() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.host}")
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        backend(fake).forward(images(2))
        assert proxy.asked == []


def test_cookies_are_not_kept(fake: FakeServer) -> None:
    fake.behave = lambda asked: Answer(
        200, well(asked).body, {**well(asked).headers, "Set-Cookie": "session=1; Path=/"}
    )
    backend(fake).forward(images(2))
    assert all("cookie" not in asked.headers for asked in fake.asked)


def headers_of(tmp_path: Path) -> tuple[Header, ...]:
    (tmp_path / "token").write_text("Bearer from-a-file\n")
    return (
        Header("Authorization", file=str(tmp_path / "token")),
        Header("X-Api-Key", env="MODEL_SERVER_KEY"),
        Header("X-Tenant", literal="birds"),
    )


def test_headers_come_from_files_variables_and_the_registry(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODEL_SERVER_KEY", "from-the-environment")
    model = backend(fake, headers=headers_of(tmp_path))
    for asked in fake.asked:
        assert asked.headers["authorization"] == "Bearer from-a-file"
        assert asked.headers["x-api-key"] == "from-the-environment"
        assert asked.headers["x-tenant"] == "birds"
    (tmp_path / "token").write_text("Bearer replaced\n")
    model.forward(images(1))
    assert fake.asked[-1].headers["authorization"] == "Bearer replaced"


def test_secrets_are_in_no_message_log_or_specification(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Even where the server repeats them."""
    caplog.set_level("DEBUG")
    monkeypatch.setenv("MODEL_SERVER_KEY", "from-the-environment")
    headers = (*headers_of(tmp_path), Header("X-Other", literal="written-down"))
    model = backend(fake, headers=headers)
    for status in (400, 401, 403, 429, 500, 503):
        fake.behave = lambda asked, status=status: answer(
            {"error": f"no access with {sorted(asked.headers.values())} or from-a-file"}, status
        )
        with pytest.raises((RemoteFailure, ModelUnavailable), match="no access with") as caught:
            model.forward(images(1))
        for secret in ("from-a-file", "from-the-environment", "written-down"):
            assert secret not in caught.value.message
    for secret in ("from-a-file", "from-the-environment", "written-down"):
        assert secret not in caplog.text
        assert secret not in repr(model._spec)


def test_a_secret_that_is_missing_is_named_by_its_place(fake: FakeServer, tmp_path: Path) -> None:
    assert "MODEL_SERVER_KEY" not in os.environ
    with pytest.raises(RegistryInvalid, match="environment variable MODEL_SERVER_KEY is not set") as caught:
        backend(fake, headers=(Header("X-Api-Key", env="MODEL_SERVER_KEY"),))
    assert caught.value.field == "remote.headers.X-Api-Key"
    with pytest.raises(RegistryInvalid, match="there is no file"):
        backend(fake, headers=(Header("X-Api-Key", file=str(tmp_path / "absent")),))
    (tmp_path / "two").write_text("one\r\nInjected: two")
    with pytest.raises(RegistryInvalid, match="not printable ASCII"):
        backend(fake, headers=(Header("X-Api-Key", file=str(tmp_path / "two")),))


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Answer(200, b"no JSON"), "the reply is not JSON"),
        (answer([1]), "the reply is no JSON object"),
        (answer({}), "the reply has no outputs"),
        (answer({"outputs": []}), "no output 'logits', but none"),
        (binary(np.zeros((2, CLASSES), np.float32), name="other"), "no output 'logits', but other"),
        (binary(np.zeros((3, CLASSES), np.float32)), r"2 images gave an output of \(3, 4\)"),
        (binary(np.zeros((2, 0), np.float32)), r"gave an output of \(2, 0\)"),
        (binary(np.zeros(2, np.float32)), r"gave an output of \(2,\)"),
        (binary(np.zeros((2, CLASSES, 2), np.float32)), r"gave an output of \(2, 4, 2\)"),
        (binary(np.zeros((2, CLASSES), np.int32), datatype="INT32"), "is of 'INT32', not one of FP16, FP32"),
        (binary(np.zeros((2, CLASSES), np.float32), datatype="FP64"), "has 32 bytes, not 64"),
        (Answer(200, b"{}", {LENGTH: "99"}), "the reply's header inference-header-content-length is '99'"),
        (Answer(200, b"{}", {LENGTH: "-1"}), "inference-header-content-length is '-1'"),
        (
            answer({"outputs": [{"name": "logits", "shape": [2, 4], "datatype": "FP32", "data": [1]}]}),
            "has 1 numbers, not 8",
        ),
        (
            answer(
                {"outputs": [{"name": "logits", "shape": [2, 1], "datatype": "FP32", "data": ["a", "b"]}]}
            ),
            "does not hold numbers alone",
        ),
        (
            answer({"outputs": [{"name": "logits", "shape": [-2, 1], "datatype": "FP32", "data": [1]}]}),
            r"has the shape \[-2, 1\]",
        ),
        (answer({"outputs": [{"name": "logits"}]}), "has no shape"),
        (answer({"error": "no such model"}, 404), "answered 404: no such model"),
        (answer({"detail": "who are you"}, 401), "answered 401: who are you"),
        (Answer(500, b"\xff\x00 oops \r\n twice"), "answered 500: . oops twice|answered 500: .*oops twice"),
    ],
)
def test_what_is_no_scores_is_refused_in_words(fake: FakeServer, reply: Answer, message: str) -> None:
    model = backend(fake)
    fake.behave = lambda _: reply
    with pytest.raises(RemoteFailure, match=message):
        model.forward(images(2))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_scores_that_are_not_finite_are_refused(fake: FakeServer, value: float) -> None:
    model = backend(fake)
    found = np.zeros((2, CLASSES), np.float32)
    found[1, 1] = value
    fake.behave = lambda _: binary(found)
    with pytest.raises(ModelFailure, match="model 'toy' returned something that is not a number"):
        model.forward(images(2))


@pytest.mark.parametrize(
    ("datatype", "values"),
    [
        ("FP16", np.arange(8, dtype=np.float16).reshape(2, 4)),
        ("FP64", np.arange(8, dtype=np.float64).reshape(2, 4)),
        ("BF16", (np.arange(8, dtype=np.float32).view(np.uint32) >> 16).astype(np.uint16).reshape(2, 4)),
    ],
)
def test_float_scores_of_any_width_are_taken(fake: FakeServer, datatype: str, values: np.ndarray) -> None:
    model = backend(fake)
    fake.behave = lambda _: binary(values, datatype=datatype)
    found = model.forward(images(2))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.arange(8).reshape(2, 4))


def test_a_reply_that_does_not_end_is_cut_off(fake: FakeServer) -> None:
    model = backend(fake)
    fake.behave = lambda _: Answer(200, bytes(MAX_REPLY_BYTES + 1))
    with pytest.raises(RemoteFailure, match=f"the reply has more than {MAX_REPLY_BYTES} bytes"):
        model.forward(images(1))


def test_a_model_that_is_replaced_on_its_server_is_noticed(fake: FakeServer) -> None:
    model = backend(fake)
    assert model.details.revision
    assert not model.stale
    fake.behave = lambda asked: binary(scores(asked.images), version="2")
    with pytest.raises(ModelChanged, match="model 'toy' was updated on its server"):
        model.forward(images(2))
    assert model.stale


def test_a_model_that_cannot_be_used_leaves_no_connection(
    fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Http] = []
    close = Http.close
    monkeypatch.setattr(Http, "close", lambda http: (closed.append(http), close(http)))
    fake.behave = lambda _: Answer(404, b"no such model")
    with pytest.raises(RemoteFailure, match="404"):
        backend(fake)
    assert len(closed) == 1


def test_a_server_without_binary_tensors_is_sent_json(fake: FakeServer) -> None:
    def behave(asked: Asked) -> Answer:
        if asked.method == "GET":
            return well(asked) if asked.path != "/v2" else answer({"name": "old", "extensions": []})
        if LENGTH.lower() in asked.headers:
            return answer({"error": "what is this"}, 400)
        tensor = asked.document["inputs"][0]
        found = scores(np.array(tensor["data"], np.float32).reshape(tensor["shape"]))
        output = {"name": "logits", "datatype": "FP32", "shape": list(found.shape), "data": found.tolist()}
        return answer({"outputs": [output]})

    fake.behave = behave
    model = backend(fake)
    given = images(3)
    # JSON carries every digit: the same bits.
    np.testing.assert_array_equal(model.forward(given), scores(given))


def test_channels_last_are_sent_where_the_server_wants_them(fake: FakeServer) -> None:
    last = {**METADATA, "inputs": [{**INPUT, "shape": [-1, SIDE, SIDE, 3]}]}

    def behave(asked: Asked) -> Answer:
        if asked.method == "GET":
            return answer(last) if asked.path == "/v2/models/toy" else well(asked)
        return binary(scores(asked.images.transpose(0, 3, 1, 2)))

    fake.behave = behave
    given = images(3)
    np.testing.assert_array_equal(backend(fake, input_layout="nhwc").forward(given), scores(given))
    with pytest.raises(RegistryInvalid, match=r"in nchw, the server's input 'images' takes \(8, 8, 3\)"):
        backend(fake)


def test_integer_input_is_refused(fake: FakeServer) -> None:
    pixels = {**METADATA, "inputs": [{**INPUT, "datatype": "UINT8"}]}
    fake.behave = lambda asked: answer(pixels) if asked.path == "/v2/models/toy" else well(asked)
    with pytest.raises(RegistryInvalid, match="input 'images' is UINT8; images are sent as FP16, FP32, FP64"):
        backend(fake)


@pytest.mark.parametrize(
    ("predictions", "output"),
    [
        (lambda rows: rows, None),
        (lambda rows: [{"scores": row} for row in rows], None),
        (lambda rows: [{"scores": row, "label": "wren"} for row in rows], "scores"),
    ],
)
def test_kserve_v1_predictions_are_rows_or_have_them_under_a_key(
    fake: FakeServer, predictions: Callable[[list[Any]], list[Any]], output: str | None
) -> None:
    def behave(asked: Asked) -> Answer:
        assert asked.path == "/v1/models/toy:predict"
        given = np.array(asked.document["instances"], np.float32)
        return answer({"predictions": predictions(scores(given).tolist())})

    fake.behave = behave
    model = backend(f"kserve-v1:http://{fake.host}/v1/models/toy:predict", output=output)
    np.testing.assert_array_equal(model.forward(images(3)), scores(images(3)))
    assert model.details.revision == ""  # the protocol knows no versions


def test_kserve_v1_predictions_of_several_keys_need_one_named(fake: FakeServer) -> None:
    fake.behave = lambda asked: answer({"predictions": [{"scores": [1], "label": 2}] * 2})
    with pytest.raises(RemoteFailure, match="several keys, and no output is declared: label, scores"):
        backend(f"kserve-v1:http://{fake.host}/v1/models/toy")
