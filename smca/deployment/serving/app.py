"""The application: routes, refusals as JSON, the page.

POST /predict   pictures -> {"image", "width", "height", "detections"}; of several pictures a list
POST /explain   a picture and one of its detections -> where the query looked (`looks`)
GET /model      classes, threshold, limits        GET /health   200 once the model is loaded
GET /metrics    Prometheus's text                 GET /openapi.json
GET /           the page, and its files
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

import smca
from smca.deployment.serving.limits import RefusalError
from smca.deployment.serving.questions import add_questions
from smca.deployment.serving.service import Service
from smca.deployment.serving.uploads import drain
from smca.deployment.serving.watch import Watch
from smca.visualization.detections import colour_of
from smca.visualization.panels import COLOUR_MAP

PAGE = {"page.css": "text/css", **dict.fromkeys(("app.js", "server.js", "stage.js", "look.js"), "text/javascript")}


def build_app(service: Service) -> Watch:
    """The application around a service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        work = asyncio.create_task(service.run())
        yield
        work.cancel()
        service.close()

    app = FastAPI(
        title="smca serve",
        description=f"Object detection with {service.engine.name}.",
        version=smca.__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_refusals(app)
    add_questions(app, service)
    _add_facts(app, service)
    _add_page(app)
    paths = {"/", "/predict", "/explain", "/model", "/health", "/metrics", "/openapi.json", *(f"/{n}" for n in PAGE)}
    return Watch(app, service.metrics, paths)


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refuse(request: Request, error: RefusalError) -> Response:
        await drain(request)
        return JSONResponse({"error": error.reason}, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def refuse_path(request: Request, error: HTTPException) -> Response:
        await drain(request)
        reason = f"{error.detail}: {request.method} {request.url.path[:200]}"
        return JSONResponse({"error": reason}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "the server failed; its log says how"}, 500)


def _add_facts(app: FastAPI, service: Service) -> None:
    engine, limits = service.engine, service.limits
    facts = {
        "name": engine.name,
        "version": smca.__version__,
        "threshold": engine.threshold,
        "explains": engine.explains,
        "input": engine.input_size,
        "classes": [{"name": name, "colour": colour_of(label)} for label, name in enumerate(engine.classes)],
        "limits": {"megabytes": limits.megabytes, "pixels": limits.pixels, "seconds": limits.seconds},
        "colour_map": base64.b64encode((COLOUR_MAP(np.arange(256), bytes=True))[:, :3].tobytes()).decode("ascii"),
    }

    @app.get("/model")
    async def model() -> Response:
        """What the page needs to know: classes with their colours, the model's own threshold, limits."""
        return JSONResponse(facts)

    @app.get("/health")
    async def health() -> Response:
        """The model is loaded and answers."""
        return JSONResponse({"status": "ok", "model": engine.name})

    @app.get("/metrics")
    async def metrics() -> Response:
        """Requests, latency, batches, waiting requests and the process, as Prometheus reads it."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)


def _add_page(app: FastAPI) -> None:
    folder = resources.files("smca.deployment.serving") / "page"
    for path, name, kind in [("/", "index.html", "text/html"), *((f"/{name}", name, PAGE[name]) for name in PAGE)]:
        content = folder.joinpath(name).read_bytes()
        app.add_api_route(path, _file(content, kind), include_in_schema=False)


def _file(content: bytes, kind: str) -> Any:
    async def file() -> Response:
        return Response(content, media_type=kind)

    return file
