"""``GET /docs``: Swagger UI, its assets from the ``swagger-ui-bundle`` package and none from another host."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi.openapi.docs import get_swagger_ui_html
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from swagger_ui_bundle import swagger_ui_path

from wavescope.ingress.problems import NotFound

ASSETS = {
    "swagger-ui.css": "text/css",
    "swagger-ui-bundle.js": "text/javascript",
    "favicon-32x32.png": "image/png",
}


async def page(request: Request) -> HTMLResponse:
    """The documentation's page; addresses are relative, so that it works behind a path prefix."""
    del request
    return get_swagger_ui_html(
        openapi_url="openapi.json",
        title="Wavescope",
        swagger_js_url="docs/swagger-ui-bundle.js",
        swagger_css_url="docs/swagger-ui.css",
        swagger_favicon_url="docs/favicon-32x32.png",
        # Without this, Swagger UI sends the document's address to a validator on the internet.
        swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": 0},
    )


async def asset(request: Request) -> Response:
    """One of the three files that the page needs.

    Raises:
        NotFound: another file.
    """
    name = request.path_params["name"]
    if name not in ASSETS:
        raise NotFound(f"no asset {name[:64]!r}")
    # Whole: the framework's own file reply refuses odd ranges in words of its own.
    content = await asyncio.to_thread((Path(swagger_ui_path) / name).read_bytes)
    return Response(content, media_type=ASSETS[name])
