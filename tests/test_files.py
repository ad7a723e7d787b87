from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smca import files
from smca.errors import DataError, OutputError
from smca.files import JsonList, alone, claim_folder, is_file, is_folder, read_json, write_atomically, write_json
from tests.held import held

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON)
def test_json_survives_writing_and_reading(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_writing_replaces_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, "first")
    write_atomically(path, b"second")
    assert path.read_bytes() == b"second"
    assert list(path.parent.iterdir()) == [path]


def test_names_that_are_no_utf8_survive_in_json(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_json(tmp_path / "a.json", {name: name})
    with JsonList(tmp_path / "b.json") as entries:
        entries.append(name)
        entries.append(name)
    assert read_json(tmp_path / "a.json") == {name: name}
    assert read_json(tmp_path / "b.json") == [name, name]


def test_what_can_be_no_file_is_none(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    (tmp_path / "a").touch()
    for name in ("pipe", "circle", "x" * 5000, "a\0", "nothing", "a/b", "\ud800"):
        assert not is_file(tmp_path / name)
        assert not is_folder(tmp_path / name)
    assert is_file(tmp_path / "a")
    assert is_folder(tmp_path)


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(self: Path, _: bytes) -> None:
        self.touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"a\.txt: No space left"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_readable_as_any_new_file(tmp_path: Path) -> None:
    write_atomically(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")]
    assert modes[0] == modes[1]


def test_nan_is_not_written_as_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"AP": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1,\n "b" 2}', "line 2, column 6"),
        (b"", "line 1, column 1"),
        (b'{"a": "\xff"}', "byte 7 is not UTF-8"),
        (b"[" * 100_000, "cannot be read as JSON"),
        (b"9" * 10_000, "cannot be read as JSON"),
    ],
)
def test_broken_json_is_one_line_with_a_position(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as error:
        read_json(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_json_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none\.json: No such file"):
        read_json(tmp_path / "none.json")


def test_a_byte_order_mark_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / "a.json") == {"a": 1}


def test_an_empty_folder_can_be_claimed_and_a_used_one_cannot(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "first"
    assert claim_folder(folder) == folder
    assert claim_folder(folder).is_dir()
    (folder / "model").touch()
    with pytest.raises(OutputError, match="resume it or take another"):
        claim_folder(folder, "resume it or take another")


def test_a_file_cannot_be_claimed_as_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot create output folder"):
        claim_folder(tmp_path / "file")


def test_one_process_at_a_time_and_a_killed_one_holds_nothing(tmp_path: Path) -> None:
    refused = pytest.raises(OutputError, match=f"another test writes into {tmp_path} now")
    with held(tmp_path), refused, alone(tmp_path, "test"):
        raise AssertionError
    with alone(tmp_path, "test"):
        pass


def test_a_forked_process_does_not_hold_on(tmp_path: Path) -> None:
    with alone(tmp_path, "test"):
        reads, writes = os.pipe()
        child = os.fork()
        if not child:
            os.read(reads, 1)
            os._exit(0)
    try:
        with held(tmp_path):
            pass
    finally:
        os.write(writes, b"x")
        os.waitpid(child, 0)


def test_without_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with held(tmp_path):
        monkeypatch.setattr("fcntl.lockf", unknown)
        with alone(tmp_path, "test"):
            pass


def test_a_place_that_cannot_be_held_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"cannot write .*gone"), alone(tmp_path / "gone", "test"):
        raise AssertionError


@given(st.lists(JSON, max_size=4))
def test_a_list_written_entry_by_entry_is_that_list(
    tmp_path_factory: pytest.TempPathFactory, values: list[object]
) -> None:
    path = tmp_path_factory.mktemp("json") / "sub" / "list.json"
    with JsonList(path) as entries:
        for value in values:
            entries.append(value)
            assert not path.exists()
    assert read_json(path) == values
    assert [each.name for each in path.parent.iterdir()] == ["list.json"]
    assert len(path.read_text(encoding="utf-8").split("\n")) == (len(values) + 3 if values else 2)


def test_a_list_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    path.write_text("before")

    def fail() -> None:
        with JsonList(path) as entries:
            entries.append(1)
            entries.append(float("nan"))

    with pytest.raises(ValueError, match="Out of range"):
        fail()
    assert path.read_text() == "before"
    assert [each.name for each in tmp_path.iterdir()] == ["list.json"]


def test_a_list_at_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"), JsonList(tmp_path / "file" / "list.json") as entries:
        entries.append(1)
