"""A request's body -> pictures and fields: multipart, or JSON with the picture as base64.

Everything stays in memory, nothing is written to a disk, and a file's name is only a word to call it by. Raises
RefusalError: 400 for a body that cannot be taken apart, 413 for one too long, 415 for one of another kind.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import AsyncGenerator, Mapping
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import Any

import anyio
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from smca.deployment.serving.limits import FILES, Limits, RefusalError
from smca.deployment.serving.watch import WHOLE
from smca.errors import UNPRINTABLE

FIELDS = 16
LONGEST_NAME = 200
PATIENCE, DRAINED = 2.0, 100_000_000  # seconds and bytes of a refused body that are read on
KINDS = 'multipart/form-data with a file in "image", or application/json with base64 in "image"'


@dataclass(frozen=True)
class Upload:
    """The bytes of one picture and what to call it."""

    name: str
    content: bytes


@dataclass(frozen=True)
class Form:
    """What came: pictures in their order, and the other fields by name."""

    uploads: tuple[Upload, ...]
    fields: Mapping[str, Any]
    single: bool

    @property
    def only(self) -> Upload:
        """The one picture."""
        if len(self.uploads) != 1:
            raise RefusalError(422, f"{len(self.uploads)} pictures; allowed here: one")
        return self.uploads[0]


async def read_form(request: Request, limits: Limits) -> Form:
    """Read and take apart a request."""
    kind = request.headers.get("content-type", "").split(";", maxsplit=1)[0].strip().lower()
    if kind not in ("multipart/form-data", "application/json"):
        raise RefusalError(415, f"the request is of type {_short(kind) or 'none'}; allowed: {KINDS}")
    try:
        if kind == "application/json":
            return _from_json(b"".join([chunk async for chunk in _chunks(request, limits)]))
        return await _from_multipart(request, limits)
    except ClientDisconnect as error:
        raise RefusalError(400, "the upload broke off") from error


async def drain(request: Request) -> None:
    """Read on for a while what nobody wants: who is still sending could not hear the answer."""
    if "expect" in request.headers:  # it has not begun to send
        return
    length = 0
    with anyio.move_on_after(PATIENCE):
        while length < DRAINED and not request.scope.get(WHOLE):
            message = await request.receive()
            length += len(message.get("body", b""))


async def _chunks(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    too_long = RefusalError(413, f"the request is longer than {limits.megabytes:g} MB, the most allowed")
    stated = request.headers.get("content-length", "")
    if stated.isdecimal() and int(stated) > limits.bytes:
        raise too_long
    length = 0
    async for chunk in request.stream():
        length += len(chunk)
        if length > limits.bytes:
            raise too_long
        yield chunk


async def _from_multipart(request: Request, limits: Limits) -> Form:
    parser = MultiPartParser(request.headers, _chunks(request, limits), max_files=FILES, max_fields=FIELDS)
    parser.spool_max_size = limits.bytes + 1  # never on a disk
    try:
        parts = (await parser.parse()).multi_items()
    except MultiPartException as error:
        status = 413 if error.message.startswith(("Too many", "Part exceeded")) else 400
        raise RefusalError(status, f"the form cannot be read: {error.message}") from error
    files = [part for _, part in parts if isinstance(part, UploadFile)]
    fields = {name: part for name, part in parts if isinstance(part, str)}
    try:
        uploads = tuple([Upload(plain_name(file.filename), await file.read()) for file in files])
    finally:
        for file in files:
            await file.close()
    if "image" in fields:
        raise RefusalError(422, 'field "image" is text, not a file (with curl: -F image=@picture.jpg)')
    return _form(uploads, fields)


def _from_json(body: bytes) -> Form:
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise RefusalError(400, f"the body is not JSON: {_short(str(error))}") from error
    if not isinstance(fields, dict):
        raise RefusalError(422, f'the body is JSON of type {type(fields).__name__}; allowed: {{"image": base64}}')
    image = fields.pop("image", None)
    if image is not None and not isinstance(image, str):
        raise RefusalError(422, f'"image" is of type {type(image).__name__}; allowed: base64 text')
    return _form((Upload("image", _decoded(image)),) if image is not None else (), fields)


def _decoded(text: str) -> bytes:
    """Base64, on lines or not, or a data URI of it."""
    start = text[:200].find("base64,") + len("base64,") if text.startswith("data:") else 0
    try:
        return base64.b64decode("".join(text[start:].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RefusalError(422, f'"image" is not base64: {_short(str(error))}') from error


def _form(uploads: tuple[Upload, ...], fields: Mapping[str, Any]) -> Form:
    if not uploads:
        raise RefusalError(422, f"no picture in the request; allowed: {KINDS}")
    return Form(uploads, fields, single=len(uploads) == 1)


def plain_name(name: str | None) -> str:
    """The last part of a file's name as any system writes paths, without control characters; never empty."""
    last = PureWindowsPath((name or "").replace("\0", "")).name
    return _short(UNPRINTABLE.sub("", last)) or "image"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_NAME else f"{text[: LONGEST_NAME - 3]}..."
