"""A data set from a folder or file, its format and layout recognised by itself (layouts.py).

Labels mean the same in train and val: val is matched to train by class name. Raises DataError where nothing
is recognised, a split is missing, or class names differ; ConfigurationError for a wrong `val_fraction`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from smca.data.layouts import Format, find, source, splits_of
from smca.data.records import Findings, Split
from smca.errors import ConfigurationError, DataError


@dataclass(frozen=True)
class DataSet:
    """Train and, where there is one, val, with the same classes."""

    train: Split
    val: Split | None


def read_data(
    data: Path | str,
    *,
    strict: bool = False,
    val_fraction: float = 0.0,
    seed: int = 0,
    need_val: bool = True,
    format: Format | None = None,
) -> DataSet:
    """Read train and val. `val_fraction` in 0..1 takes that part of train, chosen by `seed`, where there is
    no val.
    """
    data = Path(data)
    if not 0 <= val_fraction < 1:
        raise ConfigurationError(f"--val-fraction is {val_fraction:g}, allowed is 0 up to, not including, 1")
    has_val = data.suffix.lower() != ".json" and find(data, "val", format) is not None
    if has_val and val_fraction:
        raise ConfigurationError(f"{data} has a val split of its own: leave out --val-fraction")
    if need_val and not has_val and not val_fraction and source(data, "train", format):
        raise DataError(f"{data} has no val split: make one with --val-fraction 0.2")
    train = read_split(data, "train", strict=strict, format=format)
    if has_val:
        val = read_split(data, "val", strict=strict, format=format)
        return DataSet(train, val.aligned(train.class_names, train.category_ids))
    return _held_back(train, val_fraction, seed) if val_fraction else DataSet(train, None)


def read_split(data: Path | str, split: str, *, strict: bool = False, format: Format | None = None) -> Split:
    """Read one split by name ("train", "val", "test"); a single .json file answers to every name."""
    return source(Path(data), split, format).read(split, strict)


def read_splits(data: Path | str, *, strict: bool = False, format: Format | None = None) -> list[Split]:
    """Every split there is, labelled in the classes of the first."""
    names = splits_of(Path(data), format) or ("train",)
    splits = [read_split(data, name, strict=strict, format=format) for name in names]
    return [split.aligned(splits[0].class_names, splits[0].category_ids) for split in splits]


def _held_back(train: Split, fraction: float, seed: int) -> DataSet:
    count = len(train.records)
    if count < 2:
        raise DataError(f"{train.name} has {count} image: too few to hold some back with --val-fraction")
    held_back = min(max(1, round(count * fraction)), count - 1)
    chosen = set(np.random.default_rng(seed).permutation(count)[:held_back].tolist())
    rest = [record for index, record in enumerate(train.records) if index not in chosen]
    val = [train.records[index] for index in sorted(chosen)]
    return DataSet(replace(train, records=rest), replace(train, name="val", records=val, findings=Findings()))
