from __future__ import annotations

import argparse
from collections.abc import Callable

import pytest

from smca.cli.main import build_parser
from smca.cli.parsing import above, at_least, fraction, image_size
from smca.errors import ConfigurationError
from smca.sizes import ImageSize


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("tain x", "unknown command 'tain'. Did you mean 'train'?"),
        ("zzz", "unknown command 'zzz'. Commands: quickstart, recipes"),
        ("", "no command given. Commands: quickstart, recipes"),
        ("data", "no command given"),
        ("data scnes x", "unknown command 'scnes'. Did you mean 'scenes'?"),
        ("data scenes x --image 9", "unknown option '--image'. Did you mean '--images'?"),
        ("train x --recipee y", "unknown option '--recipee'. Did you mean '--recipe'?"),
        ("train x --recipee=y", "unknown option '--recipee'. Did you mean '--recipe'?"),
        ("--hepl train", "unknown option '--hepl'. Did you mean '--help'?"),
        ("train x --zzz 1", "unknown option '--zzz'. (see"),
        ("train", "arguments are required: DATA"),
        ("train x --recipe y z", "unrecognized arguments: z"),
        ("train x --recipe y --epochs many", "--epochs: 'many' is not a whole number of at least 1"),
        ("train x --recipe y --epochs 0", "--epochs: '0' is not a whole number of at least 1"),
        ("train x --recipe y --lr nan", "--lr: 'nan' is not a number above 0"),
        ("train x --recipe y --device gpu", "--device: invalid choice: 'gpu'"),
        ("train x --recipe", "--recipe: expected one argument"),
        ("info x --size 800", "'800' is not HEIGHTxWIDTH"),
        ("predict m a.jpg --threshold 1.5", "--threshold: '1.5' is not a number from 0 to 1"),
        ("data scenes x --images 4", "--images: '4' is not a whole number of at least 5"),
    ],
)
def test_a_wrong_command_line_is_one_line_that_helps(line: str, message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        build_parser().parse(line.split())
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_the_parser_of_the_command_is_named_where_help_is_offered() -> None:
    with pytest.raises(ConfigurationError, match=r"see `smca data scenes --help`"):
        build_parser().parse(["data", "scenes", "--zzz"])


def test_options_may_be_joined_to_their_value_and_words_may_follow_two_dashes() -> None:
    arguments = build_parser().parse(["predict", "--threshold=0.5", "model", "--", "--odd name.jpg"])
    assert arguments.threshold == 0.5
    assert arguments.sources == ["--odd name.jpg"]


def test_debug_is_accepted_before_and_after_the_command() -> None:
    for words in (["--debug", "recipes"], ["recipes", "--debug"]):
        assert build_parser().parse(words).debug


@pytest.mark.parametrize(
    ("convert", "good", "value", "bad"),
    [
        (at_least(int, 1), "3", 3, ["0", "-1", "2.5", "", "x"]),
        (above(0), "1e-4", 1e-4, ["0", "-1", "nan", "inf", "x"]),
        (fraction, "0", 0.0, ["-0.1", "1.01", "nan", "x"]),
        (
            image_size,
            "800x1066",
            ImageSize(height=800, width=1066),
            ["800", "0x3", "3x0", "-3x3", "3X4", "9x9x9"],
        ),
    ],
)
def test_values_are_checked(convert: Callable[[str], object], good: str, value: object, bad: list[str]) -> None:
    assert convert(good) == value
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError, match=f"'{text}' is not"):
            convert(text)
