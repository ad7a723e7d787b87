"""The answers: predictions, explanations, facts, and a refusal with its reason for everything else."""

from __future__ import annotations

import base64
import io
import json
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from starlette.testclient import TestClient

from smca.deployment.serving import uploads
from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits
from smca.deployment.serving.uploads import plain_name
from smca.detections import Detections
from smca.errors import ModelError
from smca.inference.loading import load
from smca.modeling.detector import SmcaForObjectDetection
from smca.modeling.image_processing import SmcaImageProcessor
from tests.deployment.serving.conftest import NAMES, bomb, encoded
from tests.modeling.tiny import small_config

ClientOf = Callable[..., TestClient]
PICTURE = encoded(50, 90)


def files(*contents: bytes) -> list[tuple[str, tuple[str, bytes]]]:
    return [("image", (f"{i}.png", content)) for i, content in enumerate(contents)]


def expected(model: Any, content: bytes, threshold: float) -> list[dict[str, Any]]:
    return model.predict([Image.open(io.BytesIO(content))], threshold=threshold)[0].to_json()


def assert_same(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    assert [one["label"] for one in found] == [one["label"] for one in wanted]
    np.testing.assert_allclose([one["score"] for one in found], [one["score"] for one in wanted], atol=1e-5)
    np.testing.assert_allclose([one["box"] for one in found], [one["box"] for one in wanted], atol=1e-2)


def test_a_picture_is_answered_as_predictions_json_has_it(client: TestClient, model: Any) -> None:
    answer = client.post("/predict", files=files(PICTURE), data={"threshold": "0"}).json()
    assert {key: answer[key] for key in ("image", "width", "height")} == {"image": "0.png", "width": 90, "height": 50}
    assert_same(answer["detections"], expected(model, PICTURE, 0.0))


def test_base64_answers_alike_as_text_lines_or_uri(client: TestClient) -> None:
    form = client.post("/predict", files=files(PICTURE), data={"threshold": ".2"}).json()
    plain = base64.b64encode(PICTURE).decode()
    for text in (plain, base64.encodebytes(PICTURE).decode(), f"data:image/png;base64,{plain}"):
        answer = client.post("/predict", json={"image": text, "threshold": 0.2}).json()
        assert answer == {**form, "image": "image", "detections": answer["detections"]}
        assert_same(answer["detections"], form["detections"])


def test_the_threshold_is_the_models_own_unless_given(client: TestClient, engine: Engine) -> None:
    everything = client.post("/predict", files=files(PICTURE), data={"threshold": "0"}).json()["detections"]
    for threshold, data in ((engine.threshold, {}), (everything[3]["score"], {"threshold": everything[3]["score"]})):
        found = client.post("/predict", files=files(PICTURE), data=data).json()["detections"]
        assert found == [one for one in everything if one["score"] >= threshold]


def test_several_pictures_get_a_list_and_a_bad_one_says_why_beside_the_others(client: TestClient, model: Any) -> None:
    pictures = [encoded(64, 64, seed=1), b"no picture", encoded(30, 200, "JPEG", seed=2), bomb(30_000)]
    answer = client.post("/predict", files=files(*pictures), data={"threshold": "0"})
    assert answer.status_code == 200
    first, second, third, fourth = answer.json()
    assert_same(first["detections"], expected(model, pictures[0], 0.0))
    assert_same(third["detections"], expected(model, pictures[2], 0.0))
    assert set(second) == set(fourth) == {"image", "error"}
    assert "formats read" in second["error"]
    assert "pixels" in fourth["error"]


def test_companions_change_nothing(client: TestClient) -> None:
    pictures = [encoded(20 + 10 * i, 90 - 10 * i, seed=i) for i in range(8)]
    alone = [client.post("/predict", files=files(picture), data={"threshold": "0"}).json() for picture in pictures]
    with ThreadPoolExecutor(8) as threads:
        together = list(
            threads.map(lambda p: client.post("/predict", files=files(p), data={"threshold": "0"}), pictures)
        )
    for one, answer in zip(alone, together, strict=True):
        assert_same(answer.json()["detections"], one["detections"])
    assert "smca_batch_images_count" in client.get("/metrics").text


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"content": b"x", "headers": {"content-type": "text/plain"}}, 415, "text/plain"),
        ({"content": b"x"}, 415, "none"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"content": b"\xff\xfe\0", "headers": {"content-type": "application/json"}}, 400, "not JSON"),
        ({"json": []}, 422, "list"),
        ({"json": {}}, 422, "no picture"),
        ({"json": {"image": 7}}, 422, "int"),
        ({"json": {"image": "¤"}}, 422, "not base64"),
        ({"json": {"image": "abc"}}, 422, "not base64"),
        ({"json": {"image": ""}}, 415, "empty"),
        ({"json": {"image": base64.b64encode(b"GIF89a").decode()}}, 415, "cannot be read"),
        ({"json": {"image": base64.b64encode(PICTURE[:-40]).decode()}}, 415, "cannot be read"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "boundary"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "form"),
        ({"content": b"--b--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 422, "no picture"),
        ({"data": {"image": "text"}, "files": {"other": ("", b"")}}, 422, "text"),
        ({"files": files(PICTURE), "data": {"threshold": "much"}}, 422, "threshold"),
        ({"files": files(PICTURE), "data": {"threshold": "1.5"}}, 422, "threshold"),
        ({"files": files(PICTURE), "data": {"threshold": "nan"}}, 422, "threshold"),
        ({"files": files(PICTURE), "data": {"treshold": ".5"}}, 422, "fields: image, threshold"),
        ({"files": files(*[b"x"] * 65)}, 413, "Too many files"),
        ({"files": files(PICTURE), "data": {"threshold": "1" * 2_000_000}}, 413, "maximum size"),
        ({"files": files(bomb(40_000))}, 413, "pixels"),
        ({"files": files(bomb(8_000))}, 413, "8000 x 8000"),
        ({"files": files(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")}, 415, "formats read"),
        ({"files": files(b"a", b"b")}, 415, "0.png"),
    ],
)
def test_every_wrong_request_is_told_what_is_wrong(
    client: TestClient, request_: dict[str, Any], status: int, reason: str
) -> None:
    answer = client.post("/predict", **request_)
    assert answer.status_code == status, answer.text
    assert list(answer.json()) == ["error"]
    assert reason in answer.json()["error"]


def test_a_refusal_does_not_wait_for_more_of_a_body_that_is_whole(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "PATIENCE", 1000.0)
    for data in ({"threshold": "2"}, {"colour": "red"}):
        assert client.post("/predict", files=files(PICTURE), data=data).status_code == 422
    assert client.post("/none", content=b"x").status_code == 404


@pytest.mark.parametrize("kind", ["form", "json", "without a length"])
def test_a_request_that_is_too_long_is_refused(client_of: ClientOf, kind: str) -> None:
    client = client_of(Limits(megabytes=0.05))
    content = encoded(300, 300)
    requests: dict[str, dict[str, Any]] = {
        "form": {"files": files(content)},
        "json": {"json": {"image": base64.b64encode(content).decode()}},
        "without a length": {
            "content": (b"x" * 1000 for _ in range(100)),
            "headers": {"content-type": "multipart/form-data; boundary=x"},
        },
    }
    answer = client.post("/predict", **requests[kind])
    assert answer.status_code == 413 if kind != "without a length" else answer.status_code in (400, 413)
    assert "error" in answer.json()


def test_nothing_is_written_to_a_disk(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file was made")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(tempfile, "NamedTemporaryFile", refuse)
    content = encoded(1200, 1200)
    assert len(content) > 4_000_000
    assert client.post("/predict", files=files(content)).status_code == 200


@settings(max_examples=50, deadline=None)
@given(
    st.text()
    | st.sampled_from(["../../etc/passwd", "C:\\a\\b.png", "/a/b.png", "..", ".", "", None, "a\0b", "x" * 999])
)
def test_a_files_name_is_a_word_and_no_path(name: str | None) -> None:
    plain = plain_name(name)
    assert 0 < len(plain) <= 200
    assert not set(plain) & set("/\\\0\n\r")
    assert plain.encode()


def test_paths_in_names_are_not_repeated(client: TestClient) -> None:
    answer = client.post("/predict", files={"image": ("../../etc/<i>p</i>.png", PICTURE)})
    assert answer.json()["image"] == "i>.png"


class Stuck:
    """An engine that answers only when it may."""

    name, classes, threshold, explains, input_size = "stuck", NAMES, 0.5, False, {}

    def __init__(self) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()

    def predict(self, pictures: list[torch.Tensor]) -> list[Detections | Exception]:
        self.begun.set()
        self.go.wait(10)
        return [ModelError("diverged") for _ in pictures]


def test_who_comes_when_all_places_are_taken_is_asked_to_come_again(client_of: ClientOf) -> None:
    stuck = Stuck()
    client = client_of(Limits(waiting=1), stuck)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(client.post, "/predict", files=files(PICTURE))
        assert stuck.begun.wait(10)
        second = client.post("/predict", files=files(PICTURE))
        assert client.get("/health").status_code == 200
        stuck.go.set()
        assert first.result().status_code == 500
    assert second.status_code == 503
    assert second.headers["retry-after"] == "1"
    assert "waiting" in second.json()["error"]
    assert client.post("/predict", files=files(b"x")).status_code == 415


def test_an_answer_that_takes_too_long_is_given_up(client_of: ClientOf) -> None:
    stuck = Stuck()
    client = client_of(Limits(seconds=0.2), stuck)
    answer = client.post("/predict", files=files(PICTURE))
    stuck.go.set()
    assert answer.status_code == 504
    assert "0.2 seconds" in answer.json()["error"]


def test_what_fails_in_a_batch_fails_alone(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    real = engine._together

    def together(pictures: list[torch.Tensor]) -> list[Detections]:
        if any(picture.shape[1] == 13 for picture in pictures):
            raise RuntimeError("out of memory")
        return real(pictures)

    monkeypatch.setattr(engine, "_together", together)
    pictures = [torch.zeros(3, side, 20, dtype=torch.uint8) for side in (10, 13, 16)]
    first, failed, last = engine.predict(pictures)
    assert isinstance(first, Detections)
    assert isinstance(last, Detections)
    assert "the model failed" in str(failed)
    assert last.size.height == 16


def test_an_explanation_is_the_one_of_python(client: TestClient, model: Any) -> None:
    one = client.post("/predict", files=files(PICTURE), data={"threshold": "0"}).json()["detections"][2]
    data = {"label": one["label"], "box": json.dumps(one["box"])}
    answer = client.post("/explain", files=files(PICTURE), data=data).json()
    explanation = model.explain(Image.open(io.BytesIO(PICTURE)), threshold=0.0, most=3)
    assert_same([answer], explanation.detections.to_json()[2:])
    assert answer["query"] == explanation.queries[2]
    assert sum(level["share"] for level in answer["levels"]) == pytest.approx(1, abs=1e-5)
    for level, wanted in zip(answer["levels"], explanation.levels, strict=True):
        maps = {one["kind"]: one for one in level["maps"]}
        assert list(maps) == ["weight map G", "co-attention", "without Gaussian"]
        packed = [np.frombuffer(base64.b64decode(head), np.uint8) for head in maps["weight map G"]["heads"]]
        seen = np.stack(packed).reshape(-1, level["rows"], level["columns"])
        np.testing.assert_allclose(seen / 255, wanted.weight_maps[2], atol=0.004)
        assert len(level["heads"]) == 4
        assert len(level["heads"][0]["outline"]) == 73


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"label": "cat"}, "box"),
        ({"label": "cat", "box": "1,2,3"}, "box"),
        ({"label": "cat", "box": "1,2,3,nan"}, "box"),
        ({"label": "cat", "box": "[" * 5000}, "box"),
        ({"label": "cap", "box": "1,2,3,4"}, "Did you mean 'cat'"),
    ],
)
def test_an_explanation_of_nothing_is_refused(client: TestClient, data: dict[str, str], reason: str) -> None:
    answer = client.post("/explain", files=files(PICTURE), data=data)
    assert answer.status_code == 422
    assert reason in answer.json()["error"]


def test_a_model_that_cannot_explain_says_so(client_of: ClientOf) -> None:
    client = client_of(Limits(), Stuck())
    answer = client.post("/explain", files=files(PICTURE), data={"label": "cat", "box": "1,2,3,4"})
    assert answer.status_code == 422
    assert "not available" in answer.json()["error"]
    assert client.get("/model").json()["explains"] is False


def test_facts_health_metrics_and_openapi(client: TestClient) -> None:
    facts = client.get("/model").json()
    assert [one["name"] for one in facts["classes"]] == list(NAMES)
    assert facts["name"] == "mine/best"
    assert facts["input"] == {"shortest_edge": 64, "longest_edge": 96}
    assert client.get("/health").json()["status"] == "ok"
    client.get("/no/such/path")
    metrics = client.get("/metrics").text
    assert 'smca_requests_total{path="/health",status="200"}' in metrics
    assert 'smca_requests_total{path="other",status="404"}' in metrics
    assert "no/such" not in metrics
    paths = client.get("/openapi.json").json()["paths"]
    assert {"/predict", "/explain", "/model", "/health", "/metrics"} == set(paths)
    assert set(paths["/predict"]["post"]["requestBody"]["content"]) == {"multipart/form-data", "application/json"}


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/none", 404), ("GET", "/predict", 405), ("PUT", "/", 405)]
)
def test_unknown_paths_and_methods_are_refused_in_json(client: TestClient, method: str, path: str, status: int) -> None:
    answer = client.request(method, path)
    assert answer.status_code == status
    assert path in answer.json()["error"]


def test_every_answer_tells_browsers_to_trust_only_us(client: TestClient) -> None:
    for path in ("/", "/app.js", "/page.css", "/model", "/none"):
        answer = client.get(path)
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in answer.headers
        assert "http://" not in answer.text.replace("http://www.w3.org", "")


def test_a_model_without_gaussians_shows_its_attention(tmp_path: Path, client_of: ClientOf) -> None:
    torch.manual_seed(0)
    config = small_config(levels=("c4",), encoder=("intra",), modulation="none", box_prior=False)
    SmcaForObjectDetection(config).save_pretrained(tmp_path)
    SmcaImageProcessor(size={"shortest_edge": 64, "longest_edge": 96}).save_pretrained(tmp_path)
    client = client_of(Limits(), Engine(load(tmp_path), tmp_path))
    one = client.post("/predict", files=files(PICTURE), data={"threshold": "0"}).json()["detections"][0]
    data = {"label": one["label"], "box": json.dumps(one["box"])}
    answer = client.post("/explain", files=files(PICTURE), data=data).json()
    assert answer["centre"] is None
    (level,) = answer["levels"]
    assert [each["kind"] for each in level["maps"]] == ["co-attention"]
    assert level["heads"] == []
