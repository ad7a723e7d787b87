"""What a server takes, and what it says when it does not: every refusal is a status with a reason in words."""

from __future__ import annotations

from dataclasses import dataclass

FILES = 64  # pictures in one request


@dataclass(frozen=True)
class Limits:
    """What one server takes.

    megabytes: of one request's body, 10^6 bytes; pixels: of one picture, and of all that are decoded at one time;
    seconds: from a request's first byte to its answer; waiting: predictions and explanations asked for at one time;
    batch: images that go through the model together; delay: seconds a first image waits for others.
    """

    megabytes: float = 20.0
    pixels: int = 50_000_000
    seconds: float = 30.0
    waiting: int = 128
    batch: int = 8
    delay: float = 0.004

    @property
    def bytes(self) -> int:
        """The longest body."""
        return int(self.megabytes * 1e6)


class RefusalError(Exception):
    """A request that gets an error status (4xx or 5xx) and the reason as {"error": reason}."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason

    @property
    def headers(self) -> dict[str, str]:
        """Whoever comes when the server is full may come again in a second."""
        return {"Retry-After": "1"} if self.status == 503 else {}
