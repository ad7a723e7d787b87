"""What is asked of the model: `POST /predict` and `POST /explain`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse

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
from smca.detections import Detections

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


def add_questions(app: FastAPI, service: Service) -> None:
    """Add both routes to `app`."""
    late = f"no answer within {service.limits.seconds:g} seconds"

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
            found = await _within(service.predict(form.uploads), left, 504, late)
        return JSONResponse(_answer(form, found, lowest))

    @app.post("/explain", responses=REASONS, openapi_extra=request_body(ExplainFields, several=False))
    async def explain(request: Request) -> Response:
        """Tell where the query of one detection looked: weight maps and attention of each head and level."""
        with service.place():
            form, left = await _read(request, service)
            fields = checked(ExplainFields, form.fields)
            work = service.explain(form.only, fields.label, fields.box)
            explanation = await _within(work, left, 504, late)
            content = await asyncio.to_thread(look, explanation)
        return JSONResponse(content)


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
    refusals = [one for one in found if isinstance(one, RefusalError)]
    if len(refusals) == len(found):
        raise refusals[0]
    entries = [_entry(upload, one, lowest) for upload, one in zip(form.uploads, found, strict=True)]
    return entries[0] if form.single else entries


def _entry(upload: Upload, found: Detections | RefusalError, lowest: float) -> dict[str, Any]:
    if isinstance(found, RefusalError):
        return {"image": upload.name, "error": found.reason}
    size = found.size
    detections = found.above(lowest).to_json()
    return {"image": upload.name, "width": size.width, "height": size.height, "detections": detections}
