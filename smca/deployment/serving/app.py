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
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from importlib import resources
from typing import Any, TypeVar

import numpy as np
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from starlette.exceptions import HTTPException

from smca import __version__
from smca.deployment.serving.limits import RefusalError
from smca.deployment.serving.looks import look
from smca.deployment.serving.schema import (
    ExplainFields,
    Failed,
    Failure,
    PredictFields,
    Prediction,
    checked,
    request_body,
)
from smca.deployment.serving.service import Service
from smca.deployment.serving.uploads import Form, Upload, read_form
from smca.deployment.serving.watch import Watch
from smca.detections import Detections
from smca.visualization.detections import colour_of
from smca.visualization.panels import COLOUR_MAP

PAGE = {"page.css": "text/css", **dict.fromkeys(("app.js", "server.js", "stage.js", "look.js"), "text/javascript")}
REASONS: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": text}
    for status, text in (
        (400, "The body cannot be taken apart"),
        (408, "The upload took too long"),
        (413, "Too long, too many pixels or too many pictures"),
        (415, "Not a picture"),
        (422, "A field is missing or wrong"),
        (503, "Too many requests are waiting; try again"),
        (504, "The answer took too long"),
    )
}
Result = TypeVar("Result")


def build_app(service: Service) -> FastAPI:
    """The application around a service."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        batches = asyncio.create_task(service.batcher.run())
        yield
        batches.cancel()
        service.close()

    app = FastAPI(
        title="smca serve",
        description=f"Object detection with {service.engine.name}.",
        version=__version__,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    _add_refusals(app)
    _add_questions(app, service)
    _add_facts(app, service)
    _add_page(app)
    paths = {"/", "/predict", "/explain", "/model", "/health", "/metrics", "/openapi.json", *(f"/{n}" for n in PAGE)}
    app.add_middleware(Watch, metrics=service.metrics, paths=paths)
    return app


def _add_refusals(app: FastAPI) -> None:
    @app.exception_handler(RefusalError)
    async def refuse(_: Request, error: RefusalError) -> Response:
        return JSONResponse({"error": error.reason}, error.status, error.headers)

    @app.exception_handler(HTTPException)
    async def refuse_path(request: Request, error: HTTPException) -> Response:
        reason = f"{error.detail}: {request.method} {request.url.path[:200]}"
        return JSONResponse({"error": reason}, error.status_code, error.headers)

    @app.exception_handler(Exception)
    async def fail(_: Request, __: Exception) -> Response:
        return JSONResponse({"error": "the server failed; its log says how"}, 500)


def _add_questions(app: FastAPI, service: Service) -> None:
    seconds = service.limits.seconds

    @app.post(
        "/predict",
        responses={200: {"model": Prediction | list[Prediction | Failed]}, **REASONS},
        openapi_extra=request_body(PredictFields, several=True),
    )
    async def predict(request: Request) -> Response:
        """Find objects in one picture or several. Of several pictures the answer is a list in their order, where an
        entry for one that cannot be used is {"image", "error"}.
        """
        with service.place():
            form, left = await _read(request, service)
            threshold = checked(PredictFields, form.fields).threshold
            lowest = service.engine.threshold if threshold is None else threshold
            found = await _within(service.predict(form.uploads), left, 504, f"no answer within {seconds:g} seconds")
        return JSONResponse(_answer(form, found, lowest))

    @app.post("/explain", responses=REASONS, openapi_extra=request_body(ExplainFields, several=False))
    async def explain(request: Request) -> Response:
        """Tell where the query of one detection looked: weight maps and attention of each head and level."""
        with service.place():
            form, left = await _read(request, service)
            fields = checked(ExplainFields, form.fields)
            work = service.explain(form.only, fields.label, fields.box)
            explanation = await _within(work, left, 504, f"no answer within {seconds:g} seconds")
            content = await asyncio.to_thread(look, explanation)
        return JSONResponse(content)


def _add_facts(app: FastAPI, service: Service) -> None:
    engine, limits = service.engine, service.limits
    facts = {
        "name": engine.name,
        "version": __version__,
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


async def _read(request: Request, service: Service) -> tuple[Form, float]:
    """The form, and the seconds left for the rest."""
    loop, seconds = asyncio.get_running_loop(), service.limits.seconds
    start = loop.time()
    reason = f"the upload took longer than {seconds:g} seconds"
    form = await _within(read_form(request, service.limits), seconds, 408, reason)
    return form, seconds - (loop.time() - start)


async def _within(work: Awaitable[Result], seconds: float, status: int, reason: str) -> Result:
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError as error:
        raise RefusalError(status, reason) from error


def _answer(form: Form, found: list[Detections | RefusalError], lowest: float) -> Any:
    """One entry or a list; when no picture can be used, the first reason is the request's."""
    if all(isinstance(one, RefusalError) for one in found):
        raise found[0]
    entries = [_entry(upload, one, lowest) for upload, one in zip(form.uploads, found, strict=True)]
    return entries[0] if form.single else entries


def _entry(upload: Upload, found: Detections | RefusalError, lowest: float) -> dict[str, Any]:
    if isinstance(found, RefusalError):
        return {"image": upload.name, "error": found.reason}
    size = found.size
    detections = found.above(lowest).to_json()
    return {"image": upload.name, "width": size.width, "height": size.height, "detections": detections}
