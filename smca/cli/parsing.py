"""The parser of the command line: argparse whose errors are one line that names the nearest allowed name.

Errors raised: `ConfigurationError` for anything a user typed wrong; `main` prints it and exits with status 2.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from itertools import takewhile
from typing import NoReturn, TypeVar

from smca.errors import ConfigurationError, nearest
from smca.sizes import ImageSize


class _Help(argparse.HelpFormatter):
    """Help that names a default where there is one and the text does not name it already."""

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        silent = action.default in (None, False, argparse.SUPPRESS) or action.default == []
        return text if silent or "default" in text else f"{text} (default: %(default)s)"


def add_format(command: argparse._ActionsContainer) -> None:
    """Add --format, the format of DATA."""
    command.add_argument("--format", choices=("coco", "voc", "yolo"), help="of DATA (default: recognised by itself)")


Number = TypeVar("Number", int, float)


class Parser(argparse.ArgumentParser):
    """A parser that checks the spelling of options and commands first, and only then what is missing."""

    _choices: argparse._SubParsersAction[Parser] | None = None

    def add_command(self, name: str, description: str) -> Parser:
        """Add a command with its own options and return its parser; its first sentence is the summary."""
        if self._choices is None:
            self._choices = self.add_subparsers(title="commands", metavar="COMMAND", required=True)
        command = self._choices.add_parser(
            name,
            prog=f"{self.prog} {name}",
            help=description.split(". ", maxsplit=1)[0].rstrip("."),
            description=description,
            formatter_class=_Help,
            allow_abbrev=False,
        )
        return _with_debug(command)

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Parse the command line's words."""
        self._check(words)
        return self.parse_args(words)

    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print."""
        raise ConfigurationError(f"{message} (see `{self.prog} --help`)")

    def _check(self, words: list[str]) -> None:
        first = next((i for i, word in enumerate(words) if not word.startswith("-")), len(words))
        own = words[:first] if self._choices else list(takewhile(lambda word: word != "--", words))
        for name in (word.split("=", maxsplit=1)[0] for word in own if word.startswith("--")):
            if name not in self._option_string_actions:
                self.error(f"unknown option '{name}'.{nearest(name, self._option_string_actions)}")
        if self._choices and not {"-h", "--help"} & set(own):
            self._command(words[first] if first < len(words) else None)._check(words[first + 1 :])

    def _command(self, name: str | None) -> Parser:
        commands = self._choices.choices if self._choices else {}
        if name not in commands:
            hint = nearest(name or "", commands) or f" Commands: {', '.join(commands)}."
            self.error(f"unknown command '{name}'.{hint}" if name else f"no command given.{hint}")
        return commands[name]


def new_parser(prog: str, description: str) -> Parser:
    """Return a parser without options but `--help` and `--debug`."""
    return _with_debug(Parser(prog, description=description, formatter_class=_Help, allow_abbrev=False))


def at_least(kind: Callable[[str], Number], smallest: Number) -> Callable[[str], Number]:
    """Return a converter to `kind` that refuses values below `smallest`."""
    return _checked(kind, lambda value: value >= smallest, f"{_noun(kind)} of at least {smallest}")


def above(smallest: float) -> Callable[[str], float]:
    """Return a converter to a finite number above `smallest`."""
    return _checked(float, lambda value: smallest < value < float("inf"), f"a number above {smallest:g}")


def fraction(text: str) -> float:
    """Convert to a number from 0 to 1."""
    return _checked(float, lambda value: 0.0 <= value <= 1.0, "a number from 0 to 1")(text)


def port(text: str) -> int:
    """Convert to the number of a TCP port; 0 asks for any that is free."""
    return _checked(int, lambda value: 0 <= value <= 65535, "a port from 0 to 65535")(text)


def image_size(text: str) -> ImageSize:
    """Convert "HEIGHTxWIDTH" in pixels."""
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"'{text}' is not HEIGHTxWIDTH in pixels, such as 800x1333")
    return ImageSize(height=int(found[1]), width=int(found[2]))


def _checked(kind: Callable[[str], Number], fits: Callable[[Number], bool], wanted: str) -> Callable[[str], Number]:
    def convert(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            value = None
        if value is None or not fits(value):
            raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
        return value

    return convert


def _noun(kind: object) -> str:
    return "a whole number" if kind is int else "a number"


def _with_debug(parser: Parser) -> Parser:
    text = "show the traceback of an error"
    parser.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=text)
    return parser
