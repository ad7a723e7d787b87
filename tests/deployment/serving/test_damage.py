"""Requests that are broken at random: each is answered, none by 500, and the server goes on."""

from __future__ import annotations

import base64
import json
import random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from tests.damage.pictures import broken
from tests.damage.trials import changed_picture
from tests.damage.wrong import mutated
from tests.deployment.serving.conftest import encoded

PICTURE = encoded(20, 30)
FORM = (
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="../../x.png"\r\nContent-Type: image/png\r\n\r\n'
    + PICTURE
    + b'\r\n--b\r\nContent-Disposition: form-data; name="threshold"\r\n\r\n0.1\r\n--b--\r\n'
)
TEXTS = st.text(st.characters(), max_size=20)  # halves of signs among them
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.just(base64.b64encode(PICTURE).decode()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(["image", "threshold", "label", "box"]) | TEXTS
BODIES = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check(answer: Any) -> None:
    assert answer.status_code < 500, answer.text
    if answer.status_code != 200:
        assert list(answer.json()) == ["error"]
    answer.text.encode()


@pytest.mark.parametrize("path", ["/predict", "/explain"])
@BODIES
@given(fields=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_json_is_answered(path: str, client: TestClient, fields: dict[str, Any]) -> None:
    body = json.dumps(fields).encode()
    check(client.post(path, content=body, headers={"content-type": "application/json"}))


@BODIES
@given(head=st.binary(max_size=60), name=st.binary(max_size=60))
def test_any_header_of_a_part_is_answered(client: TestClient, head: bytes, name: bytes) -> None:
    changed = FORM.replace(b"../../x.png", name).replace(b"Content-Type: image/png", head)
    check(client.post("/predict", content=changed, headers={"content-type": "multipart/form-data; boundary=b"}))


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=b", "application/json"])
def test_forms_changed_at_random_are_answered(client: TestClient, kind: str) -> None:
    whole = FORM if kind.startswith("multi") else json.dumps({"image": base64.b64encode(PICTURE).decode()}).encode()
    for seed in range(60):
        check(client.post("/predict", content=mutated(random.Random(seed), whole, 4), headers={"content-type": kind}))
    assert client.post("/predict", files={"image": PICTURE}).status_code == 200


def test_broken_pictures_are_refused_and_the_server_goes_on(client: TestClient) -> None:
    traps = [broken(title) for title in ("hollow", "of 4 GB by its header", "PostScript", "with a text that swells")]
    pictures = [*traps, *(changed_picture(seed) for seed in range(60))]
    answers = client.post("/predict", files=[("image", (f"{i}.png", one)) for i, one in enumerate(pictures)]).json()
    assert all("error" in answer for answer in answers[:3])
    assert all(("error" in answer) != ("detections" in answer) for answer in answers)
    assert client.post("/predict", files={"image": PICTURE}).status_code == 200
