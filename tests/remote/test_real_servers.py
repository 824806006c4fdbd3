"""Real servers, each in an environment of its own: a model is explained from there as it is here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skimage.data
from tests.fakes.onnx_models import WIDE
from tests.remote.conftest import VERSION, Server

import wavescope
from wavescope.engine.protocols import Classifier
from wavescope.engine.types import Explanation, Preprocessing
from wavescope.errors import RegistryInvalid, RemoteFailure
from wavescope.models.labels import IMAGENET
from wavescope.models.load import load
from wavescope.models.remote.backend import RemoteBackend, load_remote
from wavescope.models.remote.options import RemoteOptions
from wavescope.models.sources import LoadOptions
from wavescope.models.spec import DEFAULT_MODEL, ModelSpec

SMALL = {"grid_size": 4, "nb_design": 4, "levels": 2, "seed": 0}
HOSTS = ("127.0.0.1",)
PHOTOGRAPH = skimage.data.chelsea()


def backend(source: str, *, batch_size: int | None = None, **fields: Any) -> RemoteBackend:
    fields = {"preprocessing": WIDE.preprocessing, "outputs": "logits"} | fields
    spec = ModelSpec(name="toy", source=source, batch_size=batch_size, **fields)
    return load_remote(spec, LoadOptions(Path("unused"), remote_hosts=HOSTS))


def images(rows: int, preprocessing: Preprocessing = WIDE.preprocessing) -> np.ndarray:
    return np.random.default_rng(rows).standard_normal((rows, *preprocessing.shape), dtype=np.float32)


def explained(model: Classifier) -> Explanation:
    return wavescope.explain(PHOTOGRAPH, model=model, **SMALL)


@pytest.fixture(scope="module")
def local(toy: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    return load(toy, cache_dir=tmp_path_factory.mktemp("unused"))


def sources(mlserver: Server, kserve: Server) -> dict[str, str]:
    """Every protocol of every server."""
    return {
        "MLServer, gRPC": f"oip:{mlserver.grpc}/toy",
        "MLServer, JSON": f"oip:{mlserver.http}/v2/models/toy",
        "KServe, binary": f"oip:{kserve.http}/v2/models/toy",
        "KServe, gRPC": f"oip:{kserve.grpc}/toy",
        "KServe, v1": f"kserve-v1:{kserve.http}/v1/models/toy:predict",
    }


def test_an_explanation_from_a_server_is_the_one_made_here(
    mlserver: Server, kserve: Server, local: Classifier
) -> None:
    """Same runtime, same bits: neither the protocols nor batches of another size change a score."""
    expected = explained(local)
    for name, source in sources(mlserver, kserve).items():
        found = explained(backend(source))
        np.testing.assert_array_equal(found.indices.total, expected.indices.total, err_msg=name)
        np.testing.assert_array_equal(found.maps.wcam, expected.maps.wcam, err_msg=name)
        assert found.prediction == expected.prediction, name


def test_binary_tensors_are_used_where_the_server_has_them(mlserver: Server, kserve: Server) -> None:
    assert backend(f"oip:{kserve.http}/v2/models/toy")._client.binary is True
    assert backend(f"oip:{mlserver.http}/v2/models/toy")._client.binary is False


def test_the_batch_is_halved_until_the_server_takes_it(mlserver: Server, local: Classifier) -> None:
    """MLServer refuses gRPC messages beyond 1 MiB with RESOURCE_EXHAUSTED: 184,320 bytes an image make 5."""
    model = backend(f"oip:{mlserver.grpc}/toy", batch_size=16)
    given = images(21)
    np.testing.assert_array_equal(model.forward(given), local.forward(given))
    assert model.limit.size == 4
    np.testing.assert_array_equal(model.forward(given[:3]), local.forward(given[:3]))
    assert model.limit.size == 4


def test_the_real_default_model_scores_the_same_on_a_server(mlserver: Server, tmp_path: Any) -> None:
    from wavescope.models.onnx.embedded import PREPROCESSING

    model = backend(f"oip:{mlserver.grpc}/lite0", preprocessing=PREPROCESSING, labels=IMAGENET, batch_size=2)
    here = wavescope.load_model(DEFAULT_MODEL)
    given = images(3, PREPROCESSING)
    np.testing.assert_allclose(model.forward(given), here.forward(given), rtol=1e-5, atol=1e-5)
    assert model.limit.size == 1
    assert model.details.labels == IMAGENET


def test_a_model_with_a_version_has_a_revision(mlserver: Server, kserve: Server) -> None:
    over_http = backend(f"oip:{mlserver.http}/v2/models/toy").details.revision
    over_grpc = backend(f"oip:{mlserver.grpc}/toy").details.revision
    pinned = backend(f"oip:{mlserver.grpc}/toy/{VERSION}").details.revision
    assert len({over_http, over_grpc, pinned} - {""}) == 3
    assert backend(f"oip:{mlserver.grpc}/toy").details.revision == over_grpc
    # KServe's server names no version of its model: nothing of it can be kept.
    assert backend(f"oip:{kserve.http}/v2/models/toy").details.revision == ""


@pytest.mark.parametrize(
    ("path", "message"), [("absent", "answered NOT_FOUND"), ("toy/8", "answered NOT_FOUND")]
)
def test_a_model_the_server_does_not_have_is_refused_in_its_words(
    mlserver: Server, path: str, message: str
) -> None:
    with pytest.raises(RemoteFailure, match=message):
        backend(f"oip:{mlserver.grpc}/{path}")


def test_a_size_that_is_not_the_servers_is_refused(mlserver: Server) -> None:
    other = replace(WIDE.preprocessing, size=(96, 96))
    for source in (f"oip:{mlserver.grpc}/toy", f"oip:{mlserver.http}/v2/models/toy"):
        with pytest.raises(RegistryInvalid, match=r"takes \(3, 96, 160\)") as caught:
            backend(source, preprocessing=other)
        assert caught.value.field == "preprocessing"


def test_a_tensor_the_server_does_not_have_is_refused(mlserver: Server) -> None:
    with pytest.raises(RegistryInvalid, match="the server's model has images, not 'pixels'"):
        backend(f"oip:{mlserver.grpc}/toy", remote=RemoteOptions(input="pixels"))
    with pytest.raises(RegistryInvalid, match="the server's model has logits, not 'probabilities'"):
        backend(f"oip:{mlserver.grpc}/toy", remote=RemoteOptions(output="probabilities"))
