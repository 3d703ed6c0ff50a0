"""What `plinth up` prints: a line for each part, then the addresses."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Protocol

from rich.console import Console
from rich.text import Text

NAME_WIDTH = 11
COLOURS = ("cyan", "magenta", "blue", "yellow")


class Report(Protocol):
    """Where a supervisor tells what happens."""

    def up(self, name: str, detail: str, seconds: float) -> None:
        """A part is ready, after so many seconds."""

    def note(self, name: str, text: str) -> None:
        """Something happened to a part: it died, it came back, it stopped."""

    def line(self, name: str, text: str) -> None:
        """A line of a part's log."""

    def addresses(self, urls: Mapping[str, str]) -> None:
        """All is up; this is where."""


class Silence:
    """A report that nobody reads: tests look at the mesh itself."""

    def up(self, name: str, detail: str, seconds: float) -> None:
        """Nothing."""

    def note(self, name: str, text: str) -> None:
        """Nothing."""

    def line(self, name: str, text: str) -> None:
        """Nothing."""

    def addresses(self, urls: Mapping[str, str]) -> None:
        """Nothing."""


class ConsoleReport:
    """A report on a terminal, in colour when it is one. Text from elsewhere is printed as it is, never as markup."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._colours: dict[str, str] = {}

    def up(self, name: str, detail: str, seconds: float) -> None:
        """A green mark, the name, the detail, the time it took."""
        self._print(Text("✓ ", "green"), self._name(name), Text(detail), Text(f"  {seconds:.1f} s", "dim"))

    def note(self, name: str, text: str) -> None:
        """A yellow mark, the name, the text."""
        self._print(Text("• ", "yellow"), self._name(name), Text(text))

    def line(self, name: str, text: str) -> None:
        """The name as a prefix in its own colour, and the line."""
        self._print(self._name(name), Text("│ ", "dim"), Text(text))

    def addresses(self, urls: Mapping[str, str]) -> None:
        """One line each."""
        self._print()
        for label, url in urls.items():
            self._print(Text("  "), Text(label.ljust(NAME_WIDTH), "bold"), Text(url))
        self._print()

    def _name(self, name: str) -> Text:
        colour = self._colours.setdefault(name, COLOURS[len(self._colours) % len(COLOURS)])
        return Text(name.ljust(NAME_WIDTH), colour)

    def _print(self, *parts: Text) -> None:
        # A terminal that was closed must not keep the mesh from being stopped in order.
        with suppress(OSError):
            self._console.print(Text.assemble(*parts))
