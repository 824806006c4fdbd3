"""The Python client against the running service."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data
from tests.cluster.service import SMALL, array, body, png

from wavescope_client import Client, UnknownTarget


def test_client_gives_the_service_s_numbers_as_arrays_and_saves_the_figure(service, tmp_path):
    with Client(service.url) as client:
        explanation = client.explain(data.chelsea(), **SMALL)
        explanation.save_png(tmp_path / "cat.png")
    reply = service.http.post("/v1/explanations", json=body(png(data.chelsea()), **SMALL)).json()
    np.testing.assert_array_equal(explanation.indices.total, reply["indices"]["total"])
    np.testing.assert_array_equal(explanation.maps.spatial_wcam, array(reply["maps"]["spatial_wcam"]))
    assert explanation.levels[-1].scale_px == (1, 2)
    assert Image.open(tmp_path / "cat.png").format == "PNG"


def test_client_raises_what_the_service_refuses(service):
    with Client(service.url) as client, pytest.raises(UnknownTarget, match="dragon") as caught:
        client.explain(data.chelsea(), target="dragon", **SMALL)
    assert caught.value.field == "target"
    assert caught.value.request_id
