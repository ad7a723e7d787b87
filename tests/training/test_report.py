"""RUN/report.html: there after a run, a stop and a resume; and never the reason that a run fails."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from smca.data.reading import read_data
from smca.training import launch, page
from smca.training.recorder import Recorder
from smca.training.report import example_records
from smca.training.run_folder import RunFolder
from tests.training.runs import small_request
from tests.visualization.test_page import read


def page_text(run: Path) -> str:
    return re.sub(r"\s+", " ", " ".join(read((run / "report.html").read_text()).text))


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return launch.train(small_request(scenes, tmp_path_factory.mktemp("runs") / "mine", epochs=3))


def test_the_page_says_what_the_run_was_and_how_to_use_it(run: Path, scenes: Path) -> None:
    text = page_text(run)
    rows = RunFolder(run).metrics()
    best = max(rows, key=lambda row: (row["AP"], row["epoch"]))
    assert f"smca-tiny on {scenes.name}, 3 of 3 epochs. Numbers are those of epoch {best['epoch']}" in text
    assert f"smca predict {run / 'best'} PICTURES" in text
    assert "smca resume" not in text
    for name in ("AP75", "AR100", "optimisation.lr", "model.d_model", "val_00000.jpg", f"{rows[-1]['loss']:.3f}"):
        assert name in text
    assert {"script", "link"}.isdisjoint(read((run / "report.html").read_text()).tags)


def test_pictures_are_those_of_the_best_model(run: Path, scenes: Path) -> None:
    val = read_data(scenes).val
    assert val is not None
    places = example_records(val)
    assert len(places) == len(val.records) == 4
    html = (run / "report.html").read_text()
    captions = re.findall(r'alt="([^"]*) found', html)
    assert [caption.split(":")[0] for caption in captions] == [val.records[i].path.name for i in places]
    import smca

    model = smca.load(run / "best", "cpu")
    found = model.predict([val.records[i].path for i in places])
    assert [int(caption.split(": ")[1]) for caption in captions] == [len(one) for one in found]


def test_a_resume_shows_pictures_though_no_epoch_of_its_own_was_the_best(run: Path) -> None:
    before = re.findall(r'alt="([^"]*) found', (run / "report.html").read_text())
    (run / "report.html").unlink()
    launch.resume(run)
    assert re.findall(r'alt="([^"]*) found', (run / "report.html").read_text()) == before


@pytest.mark.parametrize("stop", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("epochs", [0, 1])
def test_a_run_that_stops_leaves_a_page_if_there_was_an_epoch(
    stop: type[BaseException], epochs: int, scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    follow = Recorder.on_step_end

    def stopping(self: Recorder, args: Any, state: Any, control: Any, **options: Any) -> None:
        follow(self, args, state, control, **options)
        if state.global_step == 2 * epochs + 1:
            raise stop

    monkeypatch.setattr(Recorder, "on_step_end", stopping)
    with pytest.raises(stop):
        launch.train(small_request(scenes, tmp_path / "run", epochs=3))
    assert (tmp_path / "run" / "report.html").exists() == bool(epochs)
    if epochs:
        assert "1 of 3 epochs" in page_text(tmp_path / "run")
        assert f"smca resume {tmp_path / 'run'}" in page_text(tmp_path / "run")


def test_a_page_that_cannot_be_made_is_a_line_and_not_the_end(
    scenes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> str:
        raise RuntimeError("no\nfont")

    monkeypatch.setattr(page, "run_page", broken)
    run = launch.train(small_request(scenes, tmp_path / "run"))
    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    assert not (run / "report.html").exists()
    assert f"the page {run / 'report.html'} could not be written: no font" in capsys.readouterr().out


def test_best_and_last_have_the_threshold_of_their_epoch(run: Path) -> None:
    rows = RunFolder(run).metrics()
    best = max(rows, key=lambda row: (row["AP"], row["epoch"]))
    for name, row in (("best", best), ("last", rows[-1])):
        stored = json.loads((run / name / "config.json").read_text())["threshold"]
        assert stored == (0.5 if row["best_threshold"] is None else row["best_threshold"])
