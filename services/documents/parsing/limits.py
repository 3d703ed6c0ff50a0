"""How much one document may cost to parse."""

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one parse; beyond any of them the document is TOO_LARGE, beyond `seconds` a TIMEOUT.

    `file_bytes` of the file; `seconds` of wall clock, and of CPU; `memory_bytes` beyond what an idle parser holds;
    `pages` (slides, sheets); `characters` of text. Of an archive: `inflated_bytes` and `members` in all, and
    `inflation` times its own size. Of a mail: `attachments` in all, `depth` of mails within mails.
    """

    file_bytes: int = 256 * MIB
    seconds: float = 120.0
    memory_bytes: int = 1024 * MIB
    pages: int = 10_000
    characters: int = 40_000_000
    inflated_bytes: int = 1024 * MIB
    inflation: int = 200
    members: int = 20_000
    attachments: int = 100
    depth: int = 4

    @property
    def result_bytes(self) -> int:
        """How long a result can be, as JSON: more than these limits let a parser write."""
        return 8 * self.characters + MIB
