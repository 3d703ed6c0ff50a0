"""Cutting a document into chunks: the passages that are found, shown and cited.

Chunks follow the structure. A heading starts one, and stands in it; short blocks are joined, long ones cut between
sentences or lines; small tables stay whole, of long ones each chunk repeats the header. Inside of a section a chunk
begins with the last words of the one before.

Where a long section is cut depends on what stands nearby and on nothing else (content-defined chunking, as in the
low-bandwidth file system, SOSP 2001; local minima after Bjørner et al., 2010): a changed paragraph changes the chunks
around it, and those further on stay what they were, with the ids that they had.
"""

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise
from uuid import UUID, uuid5

from services.documents.model.parsed import Block, BlockKind, Parsed

# A chunk has at most about this many tokens: its own, and those it repeats.
CHUNK_TOKENS = 240
OVERLAP_TOKENS = 35
_OWN_TOKENS = CHUNK_TOKENS - OVERLAP_TOKENS
# Above this a table is cut.
TABLE_TOKENS = 2 * CHUNK_TOKENS
# A cut is the least of all that are this near on either side.
_WINDOW_TOKENS = 130
# And not this near to an end of the section: what is left there would say little.
_EDGE_TOKENS = 60
_HEADER_TOKENS = 60
_HEADING_CHARACTERS = 200
# What has no words takes room all the same.
_CHARACTERS_PER_TOKEN = 16

_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff"
_TOKEN = re.compile(f"[{_CJK}]|[^\\W{_CJK}]+")
# No run is unbounded next to another: these meet texts that were written to be slow. What has no end for so long is
# taken for one, at a space if there is any.
_SENTENCE = re.compile(
    r"""\S.{0,16000}?(?:[.!?…]{1,8}["'”’)\]]{0,4}(?=\s)|[。！？]{1,8}[」』”’）]{0,4}|\n\n|\Z)"""
    r"""|\S.{0,16000}(?=\s)|\S.{0,16000}""",
    re.DOTALL,
)
_LINE = re.compile(r"\S.*")
_WORD = re.compile(r"\S{1,64}")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A passage of a document.

    [start, end) is its place in the plain text, in code points, and `page` that of its start. `text` is what stands
    there; that of a table which is continued has the table's header and a line end before it. `headings` lead to it,
    the highest first. The id is made of the text, the headings, and the how-manieth of its like it is. `language` is
    that of the block in which it begins, where that is another one than the document's, else empty.
    """

    chunk_id: UUID
    ordinal: int
    text: str
    headings: tuple[str, ...]
    page: int | None
    start: int
    end: int
    language: str


@dataclass(frozen=True, slots=True)
class _Text:
    """The plain text, and what is called while it is cut."""

    plain: str
    check: Callable[[], None]


@dataclass(frozen=True, slots=True)
class _Unit:
    """What is not cut any more, unless to be repeated: a short block, a sentence, a line."""

    start: int
    end: int
    tokens: int
    kind: BlockKind


@dataclass(frozen=True, slots=True)
class _Piece:
    """The place of a chunk, and what is put before it."""

    start: int
    end: int
    lead: str = ""


@dataclass(frozen=True, slots=True)
class _Section:
    """Headings in a row, and the blocks up to the next one; `path` leads to them."""

    path: tuple[str, ...]
    headings: Sequence[Block]
    body: Sequence[Block]


def count_tokens(text: str) -> int:
    """Words, with each character of Chinese, Japanese and Korean for one; more where there are hardly any words."""
    return max(len(_TOKEN.findall(text)), len(text) // _CHARACTERS_PER_TOKEN, 1)


def chunk(parsed: Parsed, document_id: UUID, check: Callable[[], None] = lambda: None) -> list[Chunk]:
    """The chunks of a document, in order; together they hold all of its text.

    A long one takes long: `check` is called for each sentence, and what it raises passes through.
    """
    text = _Text(parsed.text, check)
    starts = [block.start for block in parsed.blocks]
    seen: Counter[str] = Counter()
    chunks: list[Chunk] = []
    for section in _sections(parsed.blocks):
        for piece in _cut(section, text):
            content = piece.lead + text.plain[piece.start : piece.end]
            begins_in = parsed.blocks[bisect_right(starts, piece.start) - 1]
            identity = "\x1e".join((*section.path, content))
            chunks.append(
                Chunk(
                    uuid5(document_id, f"{identity}\x1e{seen[identity]}"),
                    len(chunks),
                    content,
                    section.path,
                    begins_in.page,
                    piece.start,
                    piece.end,
                    begins_in.language,
                )
            )
            seen[identity] += 1
    return chunks


def _count_up_to(most: int, text: str) -> int:
    """Its tokens; of what is much too long, which is not counted, one more than `most`."""
    return count_tokens(text) if len(text) // _CHARACTERS_PER_TOKEN <= most else most + 1


def _sections(blocks: Sequence[Block]) -> Iterator[_Section]:
    path: list[Block] = []
    headings: list[Block] = []
    body: list[Block] = []
    for block in blocks:
        if block.kind is BlockKind.HEADING:
            if body:
                yield _section(path, headings, body)
                headings, body = [], []
            path = [*(one for one in path if one.level < block.level), block]
            headings.append(block)
        else:
            body.append(block)
    if headings or body:
        yield _section(path, headings, body)


def _section(path: Sequence[Block], headings: Sequence[Block], body: Sequence[Block]) -> _Section:
    return _Section(tuple(heading.text[:_HEADING_CHARACTERS] for heading in path), headings, body)


def _cut(section: _Section, text: _Text) -> Iterator[_Piece]:
    """The pieces of a section. Its headings belong to the first, unless they are a text of their own."""
    headings = [unit for heading in section.headings for unit in _units(heading, text)]
    pieces = _cut_blocks(section.body, text)
    first = next(pieces, None)
    if first is not None and headings and sum(unit.tokens for unit in headings) <= _HEADER_TOKENS:
        first = _Piece(headings[0].start, first.end)
    elif headings:
        yield from _pack(headings, text)
    if first is not None:
        yield first
        yield from pieces


def _cut_blocks(blocks: Sequence[Block], text: _Text) -> Iterator[_Piece]:
    run: list[_Unit] = []
    for block in blocks:
        text.check()
        if block.kind is BlockKind.TABLE and _count_up_to(_OWN_TOKENS, block.text) > _OWN_TOKENS:
            yield from _pack(run, text)
            run = []
            yield from _cut_table(block, text)
        else:
            run.extend(_units(block, text))
    yield from _pack(run, text)


def _cut_table(table: Block, text: _Text) -> Iterator[_Piece]:
    """A table whole, or by its rows, each piece but the first under the table's header."""
    if _count_up_to(TABLE_TOKENS, table.text) <= TABLE_TOKENS:
        yield _Piece(table.start, table.end)
        return
    header = table.text.partition("\n")[0]
    room = _OWN_TOKENS - count_tokens(header)
    lead = f"{header}\n" if count_tokens(header) <= _HEADER_TOKENS else ""
    rows = list(_segments(BlockKind.TABLE, text, table.start, table.end, room if lead else _OWN_TOKENS))
    for number, group in enumerate(_groups(rows, text, room if lead else _OWN_TOKENS)):
        yield _Piece(group[0].start, group[-1].end, lead if number else "")


def _units(block: Block, text: _Text) -> Iterator[_Unit]:
    tokens = _count_up_to(_OWN_TOKENS, block.text)
    if tokens <= _OWN_TOKENS:
        yield _Unit(block.start, block.end, tokens, block.kind)
    else:
        yield from _segments(block.kind, text, block.start, block.end, _OWN_TOKENS)


def _segments(kind: BlockKind, text: _Text, start: int, end: int, room: int) -> Iterator[_Unit]:
    """Sentences, or lines where lines count; of those that are longer than `room`, words."""
    pattern = _SENTENCE if kind in (BlockKind.PARAGRAPH, BlockKind.HEADING) else _LINE
    for match in pattern.finditer(text.plain, start, end):
        text.check()
        tokens = _count_up_to(room, match[0])
        if tokens <= room:
            yield _Unit(match.start(), match.start() + len(match[0].rstrip()), tokens, kind)
        else:
            yield from _words(kind, text, match.start(), match.end(), room)


def _words(kind: BlockKind, text: _Text, start: int, end: int, room: int) -> Iterator[_Unit]:
    """As many words at once as there is room for."""
    first, last, words = start, start, 0
    for match in _WORD.finditer(text.plain, start, end):
        text.check()
        more = count_tokens(match[0])
        if last > first and max(words + more, (match.end() - first) // _CHARACTERS_PER_TOKEN) > room:
            yield _Unit(first, last, count_tokens(text.plain[first:last]), kind)
            first, words = match.start(), 0
        last = match.end()
        words += more
    yield _Unit(first, last, count_tokens(text.plain[first:last]), kind)


def _pack(units: Sequence[_Unit], text: _Text) -> Iterator[_Piece]:
    """Units joined to pieces, each but the first with the end of the one before."""
    if units and sum(unit.tokens for unit in units) <= CHUNK_TOKENS:
        yield _Piece(units[0].start, units[-1].end)
        return
    before: Sequence[_Unit] = ()
    for group in _groups(units, text, _OWN_TOKENS):
        yield _Piece(_overlap(before, group[0].start, text), group[-1].end)
        before = group


def _groups(units: Sequence[_Unit], text: _Text, room: int) -> Iterator[Sequence[_Unit]]:
    """Units from one cut to the next; what is still too long is parted evenly."""
    cuts = [0, *_minima(units, text), len(units)]
    for first, last in pairwise(cuts):
        group: list[_Unit] = []
        tokens = 0
        total = sum(unit.tokens for unit in units[first:last])
        share = total / max(-(-total // room), 1)
        for unit in units[first:last]:
            if group and (tokens + unit.tokens > room or tokens >= share):
                yield group
                group, tokens = [], 0
            group.append(unit)
            tokens += unit.tokens
        if group:
            yield group


def _minima(units: Sequence[_Unit], text: _Text) -> Iterator[int]:
    """The units, away from the ends, whose digest is the least within the window; of equal ones the first."""
    digests = [_digest(unit, text) for unit in units]
    left = sum(unit.tokens for unit in units)
    done = 0
    for place, unit in enumerate(units):
        text.check()
        if (
            min(done, left) >= _EDGE_TOKENS
            and all(digests[place] < digests[other] for other in _near(units, place, -1))
            and all(digests[place] <= digests[other] for other in _near(units, place, 1))
        ):
            yield place
        done += unit.tokens
        left -= unit.tokens


def _digest(unit: _Unit, text: _Text) -> bytes:
    text.check()
    return blake2b(text.plain[unit.start : unit.end].encode(), digest_size=8).digest()


def _near(units: Sequence[_Unit], place: int, step: int) -> Iterator[int]:
    """The places on one side that begin within the window, nearest first; `step` is 1 or -1."""
    distance = 0
    other = place + step
    while 0 <= other < len(units):
        distance += units[other if step < 0 else other - 1].tokens
        if distance > _WINDOW_TOKENS:
            return
        yield other
        other += step


def _overlap(before: Sequence[_Unit], start: int, text: _Text) -> int:
    """Where the piece that begins at `start` begins with what it repeats: whole sentences, or words of a long one."""
    left = OVERLAP_TOKENS
    for unit in reversed(before):
        if unit.kind is BlockKind.TABLE:
            return start
        for segment in reversed(list(_segments(unit.kind, text, unit.start, unit.end, _OWN_TOKENS))):
            if segment.tokens > left:
                return start if left < OVERLAP_TOKENS else _last_words(segment, text)
            start = segment.start
            left -= segment.tokens
    return start


def _last_words(segment: _Unit, text: _Text) -> int:
    """Where the last words of a long sentence begin, as many as are repeated."""
    *_, last = _words(segment.kind, text, segment.start, segment.end, OVERLAP_TOKENS)
    return last.start
