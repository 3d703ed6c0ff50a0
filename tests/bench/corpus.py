"""Real text in any amount: what the Python packages of this installation say of themselves, passage by passage.

It is used up sooner or later. Then the same files come again, each with other sentences left out, so that no two
passages are alike, while words keep the frequencies and the company that they have in the text.
"""

import re
import sysconfig
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from tests.bench.h2load import BenchError

_SEED = 7
_TEXT = re.compile(r'"""(.*?)"""', re.DOTALL)
_SENTENCE = re.compile(r"\n\s*\n|(?<=[.!?])\s+(?=[A-Z])")
_WORD = re.compile(r"[^\W\d_]{2,}")
_MIN_WORDS, _MAX_WORDS = 6, 80
# A passage has so many words at least; what is left of a file is one too, if it is not too short.
_PASSAGE_WORDS, _LEFT_WORDS = 120, 40
_DOCUMENT_PASSAGES = 20
_KEPT = 0.6


def documents(passages: int) -> list[list[str]]:
    """Documents with so many passages in all, the same ones each time. Raises BenchError where there is no text."""
    found: list[list[str]] = []
    taken: set[str] = set()
    for document in _renditions():
        # Packages bring copies of others along, and of a short file little can be left out.
        new = [passage for passage in dict.fromkeys(document) if passage not in taken][: passages - len(taken)]
        taken.update(new)
        if new:
            found.append(new)
        if len(taken) == passages:
            break
    return found


def queries(library: Sequence[Sequence[str]], count: int, words: int, seed: int) -> list[str]:
    """Queries of so many words, each of which is drawn as often as it is in the text."""
    texts = list(chain.from_iterable(library))
    random = np.random.default_rng(seed)

    def word() -> str:
        while True:
            found = _WORD.findall(texts[random.integers(len(texts))])
            if found:
                return str(found[random.integers(len(found))])

    return [" ".join(word() for _ in range(words)) for _ in range(count)]


def _renditions() -> Iterator[list[str]]:
    """The documents, without end."""
    random = np.random.default_rng(_SEED)
    paths = _paths()
    read: list[list[str]] = []
    for at in random.permutation(len(paths)):
        sentences = _sentences(paths[at])
        if sentences:
            read.append(sentences)
            yield from _parted(sentences)
    if not read:
        raise BenchError("the installed packages say nothing of themselves")
    while True:
        for at in random.permutation(len(read)):
            kept = random.random(len(read[at])) < _KEPT
            yield from _parted([sentence for sentence, is_kept in zip(read[at], kept, strict=True) if is_kept])


def _paths() -> list[Path]:
    folders = {sysconfig.get_path("stdlib"), sysconfig.get_path("purelib")}
    return sorted({path for folder in folders for path in Path(folder).rglob("*.py")})


def _sentences(path: Path) -> list[str]:
    """Those of a file, of some length, and none twice."""
    found = (
        " ".join(sentence.split())
        for text in _TEXT.findall(path.read_text(errors="ignore"))
        for sentence in _SENTENCE.split(text)
    )
    return list(dict.fromkeys(one for one in found if _MIN_WORDS <= one.count(" ") + 1 <= _MAX_WORDS))


def _parted(sentences: Sequence[str]) -> Iterator[list[str]]:
    """Passages of neighbouring sentences, as documents that are not too long."""
    passages: list[str] = []
    passage: list[str] = []
    length = 0
    for sentence in sentences:
        passage.append(sentence)
        length += sentence.count(" ") + 1
        if length >= _PASSAGE_WORDS:
            passages.append(" ".join(passage))
            passage, length = [], 0
    if length >= _LEFT_WORDS:
        passages.append(" ".join(passage))
    for start in range(0, len(passages), _DOCUMENT_PASSAGES):
        yield passages[start : start + _DOCUMENT_PASSAGES]
