"""transformers' own model, configuration and image processor tests, run against ours; and what runs and judges them."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import transformers

from tests.transformers_suite import source
from tests.transformers_suite.cases import IMPORTED
from tests.transformers_suite.not_applicable import FILES, MADE_FOR, TESTS, Outcomes, problems
from tests.transformers_suite.source import NotToBeHadError, extract, library_tests

ROOT = Path(__file__).parents[2]
ALONE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_TEST_DEVICE": "cpu", "CUDA_VISIBLE_DEVICES": "", "RUN_SLOW": "0"}


@pytest.fixture(scope="module")
def folder(pytestconfig: pytest.Config) -> Path:
    """The library's test files."""
    pytest.importorskip("parameterized")
    assert pytestconfig.cache is not None
    try:
        return library_tests(pytestconfig.cache.mkdir("transformers"))
    except NotToBeHadError as error:
        pytest.skip(str(error))


def judge(wrong: list[str]) -> None:
    """Fail; or skip, where another transformers brought tests that nobody has decided about."""
    if wrong and not transformers.__version__.startswith(f"{MADE_FOR}."):
        pytest.skip(f"transformers is {transformers.__version__}, the lists are for {MADE_FOR}: {'; '.join(wrong)}")
    assert not wrong, "\n\n".join(wrong)


@pytest.mark.slow
def test_the_librarys_own_tests_pass(folder: Path, tmp_path: Path) -> None:
    """All that applies passes, and the list of what does not is true."""
    command = [sys.executable, "-m", "tests.transformers_suite.runner", str(folder), str(tmp_path / "result.json")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | ALONE, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    outcomes: Outcomes = json.loads((tmp_path / "result.json").read_text())
    judge(problems(outcomes, TESTS))


def test_every_file_of_the_library_is_run_or_listed(folder: Path) -> None:
    found = {path.name for path in folder.glob("test_*.py")}
    judge([f"{name} is neither run nor listed, or not there" for name in sorted(found ^ {*FILES, *IMPORTED})])


FOUND: Outcomes = {
    "one": {
        "test_save": ("passed", ""),
        "test_load": ("failed", "Error: 1 != 2"),
        "test_gpu": ("skipped", "test requires accelerator"),
        "test_rope_0": ("skipped", "no text"),
    },
    "two": {"test_rope_1": ("failed", "no text")},
}


@pytest.mark.parametrize(
    ("listed", "wrong"),
    [
        (("test_load", "test_rope_*"), []),
        (("test_rope_*",), ["one: test_load failed: Error: 1 != 2"]),
        (("test_load", "test_rope_1"), ["one: test_rope_0 skipped: no text"]),
        (("test_load", "test_rope_*", "test_save"), ["one: test_save is listed and passes"]),
        (("test_load", "test_rope_*", "test_old"), ["test_old is listed and does not exist"]),
    ],
)
def test_the_list_is_held_to_what_is_found(listed: tuple[str, ...], wrong: list[str]) -> None:
    assert problems(FOUND, dict.fromkeys(listed, "a reason")) == wrong


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """A source distribution with one file that is wanted."""
    names = ("tests/test_a.py", "tests/models/test_b.py", "src/tests/test_c.py", "setup.py", "tests/../../test_d.py")
    path = tmp_path / "packed.tar.gz"
    with tarfile.open(path, "w:gz") as packed:
        for name in names:
            member = tarfile.TarInfo(f"transformers-1/{name}")
            member.size = 3
            packed.addfile(member, io.BytesIO(b"1 2"))
        link = tarfile.TarInfo("transformers-1/tests/test_e.py")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        packed.addfile(link)
    return path


def test_only_the_flat_test_files_are_extracted(archive: Path, tmp_path: Path) -> None:
    into = tmp_path / "into"
    into.mkdir()
    extract(archive, into)
    assert {path.name: path.read_bytes() for path in into.iterdir()} == {"test_a.py": b"1 2"}
    assert not list(tmp_path.rglob("test_d.py"))


@pytest.mark.parametrize("faster", [False, True], ids=["alone", "another process is faster"])
def test_a_folder_is_there_whole_or_not_at_all(
    archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faster: bool
) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    folder = cache / f"transformers-{transformers.__version__}"

    def fetched(_: Path) -> Path:
        assert not folder.exists()
        if faster:
            folder.mkdir()
            (folder / "test_a.py").write_text("1 2")
        return archive

    monkeypatch.setattr(source, "fetched", fetched)
    assert library_tests(cache) == folder
    assert list(cache.iterdir()) == [folder]
    assert [path.read_text() for path in folder.iterdir()] == ["1 2"]


def test_without_an_index_there_is_a_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(NotToBeHadError, match="pip cannot fetch transformers' source"):
        library_tests(tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_was_fetched_is_used_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    kept = tmp_path / f"transformers-{transformers.__version__}"
    kept.mkdir()
    assert library_tests(tmp_path) == kept
