"""What requests may say and answers say: checks the fields that came, and describes both in openapi.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from smca.deployment.serving.limits import RefusalError


def _unpacked(value: Any) -> Any:
    """A form's field is text: "[1, 2, 3, 4]" or "1,2,3,4"."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value if value.lstrip().startswith("[") else f"[{value}]")
    except (ValueError, RecursionError):
        return value


Coordinate = Annotated[float, Field(allow_inf_nan=False)]
Box = Annotated[tuple[Coordinate, Coordinate, Coordinate, Coordinate], BeforeValidator(_unpacked)]


class PredictFields(BaseModel):
    """Fields beside the picture."""

    model_config = ConfigDict(extra="forbid")
    threshold: float | None = Field(None, ge=0, le=1, description="lowest score; default: the model's own")


class ExplainFields(BaseModel):
    """Which detection of the picture: its class and its box, as /predict gave them."""

    model_config = ConfigDict(extra="forbid")
    label: str
    box: Box = Field(description="x1, y1, x2, y2 in pixels")


class Detection(BaseModel):
    """One object; box is x1, y1, x2, y2 in pixels of the picture."""

    label: str
    score: float
    box: list[float]


class Prediction(BaseModel):
    """One picture, as in predictions.json; best first."""

    image: str
    width: int
    height: int
    detections: list[Detection]


class Failed(BaseModel):
    """One of several pictures that could not be used, and why."""

    image: str
    error: str


class Failure(BaseModel):
    """Why a request was refused."""

    error: str


Fields = TypeVar("Fields", bound=BaseModel)


def checked(kind: type[Fields], fields: Mapping[str, Any]) -> Fields:
    """The fields as `kind` has them, or RefusalError 422 that names the first wrong one."""
    try:
        return kind.model_validate(dict(fields))
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        allowed = ", ".join(["image", *kind.model_fields])
        hint = f"; fields: {allowed}" if first["type"] == "extra_forbidden" else ""
        raise RefusalError(422, f'field "{name[:80]}": {first["msg"]}{hint}') from error


def request_body(kind: type[BaseModel], several: bool) -> dict[str, Any]:
    """The OpenAPI description of a body: a form with files, or JSON with base64."""
    fields = kind.model_json_schema()
    file = {"type": "string", "format": "binary"}
    required = ["image", *fields.get("required", [])]
    bodies = {
        "multipart/form-data": {"type": "array", "items": file} if several else file,
        "application/json": {"type": "string", "description": "base64 or a data URI"},
    }
    content = {
        name: {
            "schema": {"type": "object", "properties": {"image": image, **fields["properties"]}, "required": required}
        }
        for name, image in bodies.items()
    }
    return {"requestBody": {"required": True, "content": content}}
