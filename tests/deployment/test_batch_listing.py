"""The listing: every row of the source once, in shards of the sizes asked for, whenever it came in."""

from __future__ import annotations

import shutil
from collections import Counter
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from smca.deployment.batch.listing import extend, pieces_of, shard_sizes, shards
from smca.deployment.batch.pieces import Piece, files_of, kind_of, order
from smca.deployment.batch.tables import read_items
from smca.errors import DataError

NAMES = st.sampled_from([f"/{folder}/{name}" for folder in ("a", "a/b", "a.b", "a-b") for name in "xyz"])


def as_pieces(files: dict[str, int]) -> list[Piece]:
    return sorted((Piece(path, 0, rows) for path, rows in files.items()), key=order)


@settings(max_examples=30, deadline=None)
@given(looks=st.lists(st.sets(NAMES), min_size=1, max_size=4), rows=st.integers(1, 9), size=st.integers(1, 5))
def test_each_row_is_listed_once(
    looks: list[set[str]], rows: int, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    listing = tmp_path_factory.mktemp("listing")
    known = set()
    for names in looks:
        new = sum(list(extend(listing, as_pieces(dict.fromkeys(names, rows)), size))[-1:])
        assert new == rows * len(names - known)
        known |= names
    listed = list(shards(listing))
    pieces = [piece for shard in listed for piece in pieces_of(shard)]
    assert [shard.number for shard in listed] == list(range(len(listed)))
    assert all(shard.images == sum(piece.rows for piece in pieces_of(shard)) <= size for shard in listed)
    counted = Counter((path, row) for path, first, count in pieces for row in range(first, first + count))
    assert counted == Counter((path, row) for path in known for row in range(rows))
    shutil.rmtree(listing)


def test_shards_are_small_at_first() -> None:
    sizes = list(islice(shard_sizes(None), 1000))
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[63], sizes[64], sizes[-1]) == (16, 16, 32, 1024)
    assert list(islice(shard_sizes(7), 3)) == [7, 7, 7]


def test_a_listing_cut_short_leaves_nothing(tmp_path: Path) -> None:
    def breaks() -> list[Piece]:
        raise DataError("no further")

    files = (piece for part in ([Piece("/a", 0, 1)], None) for piece in (part or breaks()))
    with pytest.raises(DataError):
        list(extend(tmp_path, files, None))
    assert not any(tmp_path.iterdir())


def test_a_table_that_changed_is_refused(tmp_path: Path) -> None:
    list(extend(tmp_path, as_pieces({"/a": 5}), None))
    with pytest.raises(DataError, match="/a has 6 rows and had 5"):
        list(extend(tmp_path, as_pieces({"/a": 6}), None))


def test_a_tree_is_walked_in_order_without_what_is_hidden_or_no_image(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/.hidden/x.png", ".x.png", "a.b/y.webp", "notes.txt", "a-b.gif", "c.heic"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = list(files_of(tmp_path, kind_of(tmp_path)))
    assert [str(Path(piece.path).relative_to(tmp_path)) for piece in found] == [
        "a/z.JPG",
        "a-b.gif",
        "a.b/y.webp",
        "b.png",
        "c.heic",
    ]
    assert found == sorted(found, key=order)
    assert [piece.path for piece in files_of(tmp_path / "*.png", "images")] == [str(tmp_path / "b.png")]
    assert list(files_of(tmp_path / "**" / "*.*", "images")) == found


def test_images_and_tables_together_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    pq.write_table(pa.table({"path": ["a.png"]}), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"holds images and Parquet files, such as .*b\.parquet"):
        list(files_of(tmp_path, kind_of(tmp_path)))


def test_a_source_without_anything(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    for source in (tmp_path, tmp_path / "*.png"):
        with pytest.raises(DataError, match="holds no image and no Parquet file"):
            kind_of(source)
    with pytest.raises(DataError, match="no file or folder"):
        kind_of(tmp_path / "nowhere")


@settings(max_examples=30, deadline=None)
@given(data=st.data(), rows=st.integers(1, 90), group=st.integers(1, 40))
def test_rows_of_a_table_whatever_its_row_groups(
    data: st.DataObject, rows: int, group: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "a.parquet"
    pq.write_table(pa.table({"bytes": [bytes([i]) for i in range(rows)]}), path, row_group_size=group)
    first = data.draw(st.integers(0, rows - 1))
    count = data.draw(st.integers(1, rows - first))
    items = list(read_items(path, first, count))
    assert [item.source for item in items] == [bytes([i]) for i in range(first, first + count)]
    assert [item.name for item in items] == [f"{path}:{i}" for i in range(first, first + count)]


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        ({"image": ["a.png"]}, "image (string)"),
        ({"path": [1]}, "path (int64)"),
        ({"bytes": ["text"]}, "bytes (string)"),
        ({"path": ["a.png"], "id": [0.5]}, "path (string), id (double)"),
    ],
)
def test_other_columns_are_named(columns: dict[str, list[object]], found: str, tmp_path: Path) -> None:
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    with pytest.raises(DataError) as raised:
        list(files_of(tmp_path, "tables"))
    assert f"has the columns {found}; allowed: path (string) or bytes (binary)" in str(raised.value)


def test_no_parquet_inside(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_text("nothing")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        list(files_of(tmp_path, "tables"))
