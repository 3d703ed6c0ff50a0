"""The files of microsoft/markitdown, which are kept out of this tree: PLINTH_CASES says where they are."""

import os
import re
from collections import Counter
from pathlib import Path
from uuid import UUID

import pytest

from services.documents.model.chunking import chunk
from services.documents.model.parsed import Parsed
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.pool import ParserPool
from services.documents.parsing.sniff import sniff

ROOT = Path(__file__).parents[3]
CASES = Path(os.environ.get("PLINTH_CASES", ROOT.parent / "shared" / "data")) / "documents"

pytestmark = pytest.mark.skipif(
    not CASES.is_dir(), reason=f"the documents of microsoft/markitdown are not in {CASES}: set PLINTH_CASES"
)

EXPECTED = {
    "expected_test.md": "test.pdf",
    "expected_movie-theater-booking-2024.md": "movie-theater-booking-2024.pdf",
    "expected_REPAIR-2022-INV-001_multipage.md": "REPAIR-2022-INV-001_multipage.pdf",
}
# What one of the files says, and no other. `test.docx` has nothing but its end for itself: it is there a second time,
# with comments.
UNIQUE = {
    "test.docx": ["24 | 25 | 26 | 27 | 28 | 29 Test Image:"],
    "test_with_comment.docx": ["This is a test comment. 12df-321a", "Yet another comment in the doc. 55yiyi-asd09"],
    "equations.docx": ["From Eq. 36.1.3", "The angle is"],
    "test.pptx": [
        "44bf7d06-5e7a-4a40-a2e1-a2e42ef28c8a",
        "1b92870d-e3b5-4e65-8153-919f4ff45592",
        "a3f6004b-6f4f-4ea8",
        "This is a nested shape with content in 2 shapes",
    ],
    "test.xlsx": [
        "affc7dad-52dc-4b98-9b5d-51e65d8a8ad0",
        "09060124-b5e7-4717-9d07-3c046eb",
        "Alpha | Beta | Gamma | Delta",
    ],
    "test_blog.html": [
        "an example where high cost can easily prevent a generic complex",
        "Just by tuning the inference parameters like model, number of responses, temperature etc.",
    ],
    "test_wikipedia.html": ["ISIN | US5949181045", "was founded by Bill Gates and Paul Allen on April 4, 1975"],
    "test_mskanji.csv": ["名前 | 年齢 | 住所", "髙橋淳 | 35 | 名古屋"],
    "test.pdf": [
        "While there is contemporaneous exploration of multi-agent approaches",
        "AutoGen uses a generic design of agents that can leverage LLMs, human inputs, tools",
    ],
    "movie-theater-booking-2024.pdf": [
        "Premier Entertainment Group",
        "This booking order is subject to cinema availability and standard terms.",
    ],
    "REPAIR-2022-INV-001_multipage.pdf": [
        "1C4RJFBG2NC123456",
        "ALL service departments charge a vehicle diagnostic charge",
    ],
}


def parsed(pool: ParserPool, name: str) -> Parsed:
    """What a file holds, taken for what it is without its name."""
    path = CASES / name
    with path.open("rb") as source:
        media_type = sniff(source)
    return pool.parse(path, media_type)


def tokens(text: str) -> Counter[str]:
    """The words of a text, as often as they are in it; those that are broken at the end of a line are made whole."""
    return Counter(re.findall(r"\w+", re.sub(r"(?<=\w)-\n(?=\w)", "", text).lower()))


def flat(text: str) -> str:
    """A text on one line."""
    return " ".join(text.split())


@pytest.mark.parametrize("expected", EXPECTED)
def test_nearly_all_expected_words_are_found(pool: ParserPool, expected: str) -> None:
    wanted = tokens((CASES / expected).read_text())
    found = wanted & tokens(parsed(pool, EXPECTED[expected]).text)
    assert found.total() / wanted.total() >= 0.95


@pytest.mark.parametrize("name", UNIQUE)
def test_what_only_one_file_says_is_in_one_of_its_chunks(pool: ParserPool, name: str) -> None:
    document = parsed(pool, name)
    chunks = [flat(one.text) for one in chunk(document, UUID(int=1))]
    for sentence in UNIQUE[name]:
        assert any(sentence in text for text in chunks), sentence
    others = [flat(parsed(pool, other).text) for other in UNIQUE if other != name]
    others += [flat((CASES / expected).read_text()) for expected, other in EXPECTED.items() if other != name]
    assert not [sentence for sentence in UNIQUE[name] for text in others if sentence in text]


def test_every_file_is_among_them() -> None:
    there = {path.name for path in CASES.iterdir() if not path.name.startswith("expected_")}
    assert there == {*UNIQUE, "random.bin"}


def test_random_bytes_are_unsupported(pool: ParserPool) -> None:
    with pytest.raises(ParseFailed) as failed:
        parsed(pool, "random.bin")
    assert failed.value.reason is Reason.UNSUPPORTED


def test_a_table_in_shift_jis_is_read_in_japanese_letters(pool: ParserPool) -> None:
    assert parsed(pool, "test_mskanji.csv").text.splitlines()[1] == "佐藤太郎 | 30 | 東京"
