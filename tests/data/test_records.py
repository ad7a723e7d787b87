from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from smca.data.records import Findings, Record, Split
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
