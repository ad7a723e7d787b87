"""Values, texts and bytes that nobody should write, each under a name."""

from __future__ import annotations

import math
import random
from collections.abc import Callable


def _nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


NUMBERS = {
    "nothing": "",
    "a word": "x",
    "nan": "nan",
    "inf": "-inf",
    "negative": "-1",
    "huge": "1e308",
    "beyond": "1e999",
    "long": "9" * 4999,
    "tiny": "1e-320",
    "hexadecimal": "0x10",
    "of Arabia": "١٢",
    "with a comma": "1,5",
    "two": "1 2",
}
FILE_NAMES = {
    "a path upwards": "../../../../../../../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "the root": "/",
    "the folder above": "..",
    "a device": "/dev/zero",
    "memory": "/proc/self/mem",
    "5,000 signs": "x" * 5000,
    "5,000 folders": "x/" * 2500 + "a.png",
    "a turned name": "\u202egnp.a",
    "a URL": "http://127.0.0.1:9/a.png",
    "a home": "~/a.png",
    "a pattern": "**/*.png",
}
VALUES: dict[str, object] = {
    "nothing": None,
    "true": True,
    "zero": 0,
    "negative": -1,
    "huge": 2**63,
    "beyond numbers": -(10**400),
    "a huge fraction": 1e308,
    "not a number": math.nan,
    "infinite": math.inf,
    "an empty text": "",
    "a word": "x",
    "5,000 signs": "x" * 5000,
    "a path upwards": "../../../../../../../../etc/passwd",
    "an absolute path": "/etc/passwd",
    "the root": "/",
    "text with NUL": "a\0b",
    "two lines": "a\nb",
    "control signs": "\x1b[2J\x07",
    "half a sign": "\ud800",
    "an empty list": [],
    "an empty object": {},
    "deep": _nested(400),
    "a list of lists": [[1], [2]],
    "an object of objects": {"a": {"b": 1}},
}
TEXT_DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut at a quarter": lambda text: text[: len(text) // 4],
    "cut in the middle": lambda text: text[: len(text) // 2],
    "without its last sign": lambda text: text.rstrip()[:-1],
    "empty": lambda _: b"",
    "blank": lambda _: b" \n\t\n",
    "twice": lambda text: text + text,
    "all NUL": lambda text: bytes(len(text)),
    "with bytes that are no UTF-8": lambda text: text.replace(b"a", b"\xff\xfe\x80", 3),
    "in UTF-16": lambda text: text.decode().encode("utf-16"),
    "in UTF-32": lambda text: text.decode().encode("utf-32"),
    "nested as lists": lambda _: b"[" * 100_000,
    "nested as objects": lambda _: b'{"a":' * 100_000,
    "nested as elements": lambda _: b"<annotation>" + b"<a>" * 100_000 + b"</a>" * 100_000 + b"</annotation>",
    "a number of 100,000 digits": lambda _: b"1" * 100_000,
    "one line of a million signs": lambda _: b"x" * 1_000_000,
    "an entity bomb": lambda _: (
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
        + b"".join(b'<!ENTITY b%d "%s">' % (i, b"&b%d;" % (i - 1) * 10) for i in range(1, 12)).replace(b"&b0;", b"&b;")
        + b"]><annotation>&b11;</annotation>"
    ),
    "an entity of a file": lambda _: (
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><annotation><filename>&b;</filename></annotation>'
    ),
    "of an unknown encoding": lambda text: b'<?xml version="1.0" encoding="x-nothing"?>' + text,
    "of a wide encoding": lambda text: b'<?xml version="1.0" encoding="utf-7"?>' + text,
}
_ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + i)}: &{chr(98 + i)} [{','.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(12)
)
YAML_TEXTS = (
    f"{_ALIASES}train: images/train\nnames: *m\n",
    f"{_ALIASES}train: images/train\nnames: [*m, x]\n",
    f"{_ALIASES}train: *m\nnames: [x]\n",
    f"{_ALIASES}train: [*m]\nnames: [x]\n",
    f"{_ALIASES}train: images/train\npath: *m\nnames: [x]\n",
    "&a [*a]",
    "train: &a [*a]\nnames: [x]",
    "train: images/train\nnames: &a [*a]",
    'train: !!python/object/apply:os.system ["touch /tmp/owned"]\nnames: [x]',
    'train: images/train\nnames: !!float ""',
    'train: images/train\nnames: !!int ""',
    "train: images/train\nnames: !!bool x",
    "train: images/train\nnames: !!timestamp x",
    "train: images/train\nnames: [2001-99-99]",
    "train: images/train\nnames: {[1, 2]: x}",
    "train: images/train\nnames: {.inf: x, .nan: y}",
    "train: images/train\nnames: {-5: x, 99999999999999999999999: y, true: z}",
    "<<: 5\ntrain: images/train\nnames: [x]",
    "--- 1\n--- 2\n",
    "train: ../../../../../../..\nnames: [x]",
    "train: ..\nnames: [x]",
    "train: /proc\nnames: [x]",
    "train: [images/train, images/val]\nval: images/train\nnames: [x]",
    "? " * 20_000,
    "- " * 20_000,
    "%YAML 9.9\n---\ntrain: x",
)


def mutated(rng: random.Random, content: bytes, most: int = 8) -> bytes:
    """Some bytes changed, lost, doubled or put elsewhere."""
    data = bytearray(content)
    for _ in range(rng.randint(1, most)):
        start = rng.randrange(len(data) + 1)
        part = data[start : start + rng.choice((1, 1, 2, 4, 16, 200))]
        change = rng.randrange(6)
        if change == 0:
            data[start : start + len(part)] = rng.randbytes(len(part))
        elif change == 1:
            del data[start : start + len(part)]
        elif change == 2:
            data[start:start] = part
        elif change == 3:
            data[start : start + len(part)] = bytes(byte ^ 1 << rng.randrange(8) for byte in part)
        elif change == 4:
            data[start : start + len(part)] = rng.choice((b"\0", b"\xff", b"\x7f", b"\x80")) * len(part)
        else:
            place = rng.randrange(len(data) + 1)
            data[place:place] = part
    return bytes(data)
