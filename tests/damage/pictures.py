"""Pictures that are broken, traps or of a kind that nobody should open; and sound ones of every kind, to be changed."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from tests.damage.healthy import picture


def chunk(kind: bytes, data: bytes) -> bytes:
    """A piece of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *chunks: bytes, colour: int = 2, depth: int = 8) -> bytes:
    """A PNG that promises that size, with these pieces."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IEND", b"")


def data(length: int) -> bytes:
    """Compressed pixels, all black."""
    return chunk(b"IDAT", zlib.compress(bytes(length), 9))


def hollow() -> bytes:
    """A PNG whose beginning and end are sound and whose middle is not."""
    whole = bytearray(picture(0))
    whole[len(whole) // 2 - 40 : len(whole) // 2 + 40] = bytes(80)
    return bytes(whole)


def tiff(*entries: tuple[int, int, int, int], following: int = 0) -> bytes:
    """A TIFF of one directory: tag, type, count, value."""
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + body + struct.pack("<I", following)


def without_tables() -> bytes:
    """A JPEG whose beginning and end are sound and whose tables are not: only who decodes it sees that."""
    whole = bytearray(picture(0, "JPEG"))
    start = whole.index(b"\xff\xc4") + 5
    whole[start : start + 16] = b"\xff" * 16
    return bytes(whole)


BROKEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "a text": lambda: b"no picture at all\n",
    "cut in the middle": lambda: picture(0)[: len(picture(0)) // 2],
    "hollow": hollow,
    "a JPEG cut in the middle": lambda: picture(0, "JPEG")[:400],
    "a JPEG cut in the middle that ends as one": lambda: picture(0, "JPEG")[:500] + b"\xff\xd9",
    "a JPEG without tables": without_tables,
    "of 4 GB by its header": lambda: png(2**31 - 1, 2**31 - 1, data(1000)),
    "of 60,000 pixels a side": lambda: png(60_000, 60_000, data(1000)),
    "of 13,000 pixels a side by its header": lambda: png(13_000, 13_000, data(1000)),
    "of no width": lambda: png(0, 30, data(10)),
    "of compressed zeros that swell to 300 MB": lambda: png(40, 30, data(300_000_000)),
    "with a text that swells": lambda: png(
        40, 30, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), data(3630)
    ),
    "with a profile that swells": lambda: png(
        40, 30, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200_000_000), 9)), data(3630)
    ),
    "a GIF of 65,535 pixels a side": lambda: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    ),
    "a PPM of 10^9 pixels a side": lambda: b"P6 1000000000 1000000000 255\n",
    "a BMP of negative height": lambda: (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 54, 0, 54, 40, 9, -(2**31), 1, 24, 0, 0, 0, 0, 0, 0)
    ),
    "a TIFF whose directory is its own next one": lambda: tiff((256, 4, 1, 40), (257, 4, 1, 30), following=8),
    "a TIFF that points beyond its end": lambda: tiff(
        (256, 4, 1, 40), (257, 4, 1, 30), (258, 3, 2**31, 2**31), (273, 4, 2**30, 8), (279, 4, 2**30, 8)
    ),
    "PostScript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 40 30\n%%EndComments\nshowpage\n",
    "an SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "a JPEG with a wrong EXIF": lambda: with_exif(
        b"II*\0\x08\0\0\0\x01\0\x12\x01\x02\0\xff\xff\xff\x7f\xff\xff\xff\x7f"
    ),
    "a JPEG with EXIF that points at itself": lambda: with_exif(tiff((0x8769, 4, 1, 8), (0x112, 2, 9, 8), following=8)),
    "floating-point": lambda: saved(Image.new("F", (40, 30)), "TIFF"),
}


@functools.cache
def broken(title: str) -> bytes:
    """One of them; some take a while to make."""
    return BROKEN[title]()


def with_exif(exif: bytes) -> bytes:
    """A JPEG with these bytes for its EXIF."""
    return saved(Image.open(io.BytesIO(picture(0))), "JPEG", exif=b"Exif\0\0" + exif)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    """The file of a picture."""
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


@functools.cache
def sound() -> tuple[bytes, ...]:
    """One small picture of each way to store one, to be changed at random."""
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (23, 31, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "someone"
    deep = Image.fromarray(np.random.default_rng(0).integers(0, 65536, (23, 31), dtype=np.uint16))
    several = {"save_all": True, "append_images": [rgb.rotate(90), rgb.rotate(180)]}
    return (
        saved(rgb, "JPEG", exif=exif),
        saved(rgb, "JPEG", progressive=True, quality=95),
        saved(rgb.convert("CMYK"), "JPEG"),
        saved(rgb, "PNG", exif=exif),
        saved(rgb.convert("RGBA"), "PNG"),
        saved(rgb.convert("P"), "PNG", transparency=0),
        saved(deep, "PNG"),
        saved(rgb, "PNG", **several),
        saved(rgb, "TIFF", exif=exif),
        *(saved(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_deflate", "jpeg", "packbits")),
        saved(rgb.convert("1"), "TIFF", compression="group4"),
        saved(deep, "TIFF"),
        saved(rgb, "GIF", **several),
        saved(rgb, "BMP"),
        saved(rgb.convert("P"), "BMP"),
        saved(rgb, "WEBP", exif=exif),
        saved(rgb.convert("RGBA"), "WEBP", lossless=True),
        saved(rgb, "WEBP", **several),
        saved(rgb, "PPM"),
        *(saved(rgb, kind) for kind in ("JPEG2000", "AVIF") if kind in Image.SAVE),
    )
