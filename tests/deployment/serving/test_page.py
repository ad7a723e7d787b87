"""The page in a real browser, with nothing but our server to talk to. Needs chromium; skipped where there is none."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image
from starlette.testclient import TestClient

from smca.deployment.serving.engine import Engine
from smca.deployment.serving.limits import Limits
from tests.deployment.serving.conftest import encoded, running

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no chromium: the page is not tested (Debian: apt-get install chromium)", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: the page is not tested")

ROWS = "#objects li:not([hidden]) button"
BOXES = "#boxes button:not([hidden])"


@pytest.fixture(scope="module")
def address(engine: Engine) -> Iterator[str]:
    with running(engine, Limits()) as place:
        yield place


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    flags = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def pictures(tmp_path: Path) -> list[Path]:
    """Two pictures; the first one's name would be markup."""
    paths = [tmp_path / "<img src=x onerror=alert(1)>.png", tmp_path / "second.jpg"]
    paths[0].write_bytes(encoded(96, 128))
    paths[1].write_bytes(encoded(64, 64, "JPEG", seed=1))
    return paths


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, ready; at the end of a test it must have asked no other server and complained about nothing."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    page.set_default_timeout(20_000)
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    page.wait_for_selector("body[data-ready]")
    yield page
    context.close()
    servers = {urlsplit(url).netloc for url in asked if urlsplit(url).scheme not in ("blob", "data")}
    assert servers == {urlsplit(address).netloc}
    assert [text for text in said if "415 (Unsupported Media Type)" not in text] == []


def slide(page: Any, threshold: float) -> None:
    """Move the slider as a hand would: the value and the event."""
    page.locator("#threshold").evaluate(
        "(slider, value) => { slider.value = value; slider.dispatchEvent(new Event('input', {bubbles: true})); }",
        threshold,
    )


def upload(page: Any, *paths: Path) -> None:
    page.set_input_files("#files", [str(path) for path in paths])
    page.wait_for_selector(".busy-dot", state="detached")


def api(client: TestClient, path: Path, threshold: float) -> dict[str, Any]:
    return client.post("/predict", files={"image": path.read_bytes()}, data={"threshold": threshold}).json()


def test_the_slider_acts_at_once_and_shows_what_the_api_says(
    page: Any, pictures: list[Path], client: TestClient, engine: Engine
) -> None:
    upload(page, *pictures)
    page.wait_for_selector("#stage:not([hidden])")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.url))
    scores = [one["score"] for one in api(client, pictures[0], 0)["detections"]]
    for threshold in (engine.threshold, scores[5] + 1e-6, 0.0, 1.0, scores[9] + 1e-6):
        slide(page, threshold)
        wanted = sum(score >= threshold for score in scores)
        assert page.locator(ROWS).count() == page.locator(BOXES).count() == wanted
    assert sent == []
    slide(page, 1)
    assert "Nothing at this score" in page.inner_text("#count")


def test_boxes_lie_where_the_objects_are(page: Any, pictures: list[Path], client: TestClient) -> None:
    upload(page, pictures[0])
    slide(page, 0)
    picture = page.locator("#picture").bounding_box()
    wanted = api(client, pictures[0], 0)["detections"]
    for index in (0, 3, 7):
        box = page.locator("#boxes button").nth(index).bounding_box()
        left, top, right, bottom = wanted[index]["box"]
        scale = picture["width"] / 128
        assert box["x"] == pytest.approx(picture["x"] + left * scale, abs=1)
        assert box["y"] == pytest.approx(picture["y"] + top * scale, abs=1)
        assert box["width"] == pytest.approx(max(4, (right - left) * scale), abs=1)
        assert box["height"] == pytest.approx(max(4, (bottom - top) * scale), abs=1)


def test_the_downloads_are_what_is_shown(page: Any, pictures: list[Path], client: TestClient, tmp_path: Path) -> None:
    upload(page, *pictures)
    everything = api(client, pictures[0], 0)["detections"]
    threshold = (everything[6]["score"] + everything[7]["score"]) / 2
    slide(page, threshold)
    with page.expect_download() as download:
        page.click("#save-json")
    download.value.save_as(tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    wanted = [api(client, path, threshold) for path in pictures]
    assert [one["image"] for one in found] == [path.name for path in pictures]
    for one, other in zip(found, wanted, strict=True):
        assert [each["label"] for each in one["detections"]] == [each["label"] for each in other["detections"]]
        assert {**one, "image": 0, "detections": 0} == {**other, "image": 0, "detections": 0}
    assert len(found[0]["detections"]) == 7
    with page.expect_download() as download:
        page.click("#save-picture")
    download.value.save_as(tmp_path / "drawn.png")
    drawn = Image.open(tmp_path / "drawn.png").convert("RGB")
    assert drawn.size == (128, 96)
    assert drawn.tobytes() != Image.open(pictures[0]).tobytes()


def test_classes_can_be_taken_away(page: Any, pictures: list[Path]) -> None:
    upload(page, pictures[0])
    slide(page, 0)
    chips = page.locator("#classes button")
    counts = {text.rsplit(" ", 1)[0]: int(text.rsplit(" ", 1)[1]) for text in chips.all_inner_texts()}
    assert set(counts) == {"cat", "dog", "<b>cow</b>"}
    chips.first.click()
    assert page.locator(ROWS).count() == sum(counts.values()) - counts["cat"]
    chips.first.click()
    assert page.locator(ROWS).count() == sum(counts.values())


def test_the_keyboard_goes_all_the_way(page: Any, pictures: list[Path]) -> None:
    upload(page, pictures[0])
    slide(page, 0)
    page.focus("#threshold")
    page.keyboard.press("ArrowRight")
    assert page.input_value("#threshold") != "0"
    page.focus("#classes button:last-child")
    page.keyboard.press("Tab")
    page.keyboard.press("ArrowDown")
    focused = page.locator(f"{ROWS} >> nth=1")
    assert focused.evaluate("one => one === document.activeElement")
    assert page.locator(".box.lit").count() == 1
    page.keyboard.press("Enter")
    page.wait_for_selector(".tiles button")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.closest('.tiles') !== null"):
            break
    page.keyboard.press("Enter")
    assert page.is_visible("#heat")
    page.keyboard.press("Escape")
    assert not page.is_visible("#look")
    assert focused.evaluate("one => one === document.activeElement")


def test_a_click_on_an_object_shows_where_each_head_looked(page: Any, pictures: list[Path]) -> None:
    upload(page, pictures[0])
    slide(page, 0)
    page.locator(BOXES).first.evaluate("box => box.click()")
    page.wait_for_selector(".tiles button")
    assert page.locator("#maps h3").all_inner_texts() == ["weight map G", "co-attention", "without Gaussian"]
    assert page.locator(".tiles button").count() == 3 * (1 + 4)
    assert page.locator("#levels label").count() == 3
    tiles = page.locator(".tiles canvas").evaluate_all("all => all.map(one => one.toDataURL())")
    assert len(set(tiles)) > 10
    page.locator("#levels label:not(:has(:checked))").first.click()
    assert page.locator(".tiles canvas").evaluate_all("all => all.map(one => one.toDataURL())") != tiles
    page.locator(".tiles button").nth(1).click()
    assert page.locator(".tiles button").nth(1).get_attribute("aria-pressed") == "true"
    assert page.is_visible("#heat")
    page.locator(".tiles button").nth(1).click()
    assert not page.is_visible("#heat")


def test_a_model_that_cannot_explain_says_so(page: Any, pictures: list[Path]) -> None:
    page.route("**/model", lambda route: route.fulfill(json={**route.fetch().json(), "explains": False}))
    page.reload()
    page.wait_for_selector("body[data-ready]")
    upload(page, pictures[0])
    slide(page, 0)
    page.locator(ROWS).first.click()
    assert "not available" in page.inner_text("#look-note")
    assert page.locator(".tiles").count() == 0


def test_what_fails_is_said_in_words_beside_what_works(page: Any, pictures: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    upload(page, broken, pictures[1])
    assert "broken.png: image cannot be read" in page.inner_text("#note")
    assert page.locator("#strip button.failed").count() == 1
    page.click("#strip li:nth-child(2) button")
    slide(page, 0)
    assert page.locator(ROWS).count() > 0


def test_names_are_text_and_never_markup(page: Any, pictures: list[Path]) -> None:
    upload(page, pictures[0])
    slide(page, 0)
    assert page.locator("#side b b, #side b > *, #classes b, #boxes b, #strip img[onerror]").count() == 0
    assert "<b>cow</b>" in page.inner_text("#objects")
    page.click("#clear")
    assert page.locator("#strip li").count() == 0
    assert not page.is_visible("#work")


@pytest.mark.parametrize("width", [320, 390])
def test_it_fits_a_phone(page: Any, pictures: list[Path], width: int) -> None:
    page.set_viewport_size({"width": width, "height": 700})
    upload(page, *pictures, *pictures, *pictures)
    slide(page, 0)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(ROWS).first.click()
    page.wait_for_selector(".tiles button")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.locator(".tiles button").last.click()
    stage = page.locator("#stage").bounding_box()
    assert stage["y"] >= 0
    assert stage["y"] + stage["height"] <= 700
