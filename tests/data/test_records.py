from __future__ import annotations

import gc
import multiprocessing
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from smca.data.records import Findings, PackedRecords, Record, Split
from smca.errors import DataError
from smca.sizes import ImageSize


def record(labels: list[int], crowd: list[bool]) -> Record:
    boxes = np.arange(4 * len(labels), dtype=np.float32).reshape(-1, 4)
    size = ImageSize(height=48, width=64)
    return Record(1, Path("a.png"), size, boxes, np.array(labels), np.array(crowd), np.ones(len(labels)))


def test_trainable_leaves_crowd_out() -> None:
    boxes, labels = record([0, 1, 2], [False, True, False]).trainable
    assert labels.tolist() == [0, 2]
    assert boxes[:, 0].tolist() == [0, 8]


def test_findings_count_and_show_the_first_cases() -> None:
    findings = Findings(missing_images=["a", "b", "c", "d"], clipped_boxes=["e"])
    assert findings.total == 5
    assert findings.lines(examples=2) == [
        "4 images not found, skipped: a; b; ...",
        "1 boxes reach outside their image, clipped: e",
    ]
    assert Findings().lines() == []


def test_aligned_relabels_by_name() -> None:
    split = Split("val", (record([0, 1], [False, False]),), ("dog", "cat"), (0, 1))
    aligned = split.aligned(("bird", "cat", "dog"), (1, 2, 3))
    assert aligned.records[0].labels.tolist() == [2, 1]
    assert (aligned.class_names, aligned.category_ids) == (("bird", "cat", "dog"), (1, 2, 3))
    assert split.records[0].labels.tolist() == [0, 1]


def test_aligned_keeps_labels_where_only_ids_differ() -> None:
    split = Split("val", (record([0, 1], [False, False]),), ("cat", "cat"), (0, 1))
    aligned = split.aligned(("cat", "cat"), (1, 2))
    assert aligned.records[0].labels.tolist() == [0, 1]
    assert aligned.category_ids == (1, 2)


def test_aligned_names_what_is_missing() -> None:
    split = Split("val", (), ("dog", "cow"), (1, 2))
    with pytest.raises(DataError, match=r"val has categories .* found 'cow', allowed 'dog', 'cat'"):
        split.aligned(("dog", "cat"), (1, 2))


def some_records(count: int) -> list[Record]:
    """Records with 0, 1, 2, ... boxes, ids of both kinds and a name that is not UTF-8."""
    records = []
    for i in range(count):
        boxes = np.arange(4 * (i % 3), dtype=np.float32).reshape(-1, 4)
        path = Path(os.fsdecode(b"a\xff.jpg")) if i == 1 else Path(f"/data/{i}.jpg")
        name: int | str = f"x{i}" if i % 2 else i
        labels, crowd = np.full(len(boxes), i), np.zeros(len(boxes), bool)
        records.append(
            Record(name, path, ImageSize(height=i + 1, width=i + 2), boxes, labels, crowd, boxes[:, 0] + 0.5)
        )
    return records


def test_packed_records_are_the_records() -> None:
    records = some_records(7)
    packed = PackedRecords(records)
    assert len(packed) == 7
    for one, other in zip(records, packed, strict=True):
        assert (one.image_id, one.path, one.size) == (other.image_id, other.path, other.size)
        for part in ("boxes", "labels", "crowd", "areas"):
            np.testing.assert_array_equal(getattr(one, part), getattr(other, part))
    assert packed[-1].image_id == 6
    assert [record.image_id for record in packed[1:3]] == ["x1", 2]
    assert list(PackedRecords([])) == []
    with pytest.raises(IndexError):
        packed[7]


def private_kilobytes() -> int:
    """Memory that this process shares with no other."""
    text = Path("/proc/self/smaps_rollup").read_text()
    return sum(
        int(line.split()[1]) for line in text.splitlines() if line.startswith(("Private_Dirty", "Private_Clean"))
    )


def _walk(records: Sequence[Record], answers: multiprocessing.SimpleQueue[int]) -> None:
    gc.disable()
    assert records[0].size.height == 1
    before = private_kilobytes()
    for record in records:
        assert record.size.height > 0
    answers.put(private_kilobytes() - before)


def copied_by_a_walk(records: Sequence[Record]) -> int:
    """Kilobytes that a process started from this one makes its own by looking at every record."""
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.SimpleQueue[int] = context.SimpleQueue()
    process = context.Process(target=_walk, args=(records, answers))
    process.start()
    grown = answers.get()
    process.join()
    return grown


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="reads Linux's own count of shared memory")
def test_a_loader_process_that_looks_at_every_record_copies_none() -> None:
    """Against records kept as objects, whose counters are written to when they are looked at."""
    records = some_records(40_000)
    as_objects = copied_by_a_walk(records)
    packed = Split("train", records, ("a",), (1,)).records
    del records
    gc.collect()
    assert copied_by_a_walk(packed) < as_objects / 3
