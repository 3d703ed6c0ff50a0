"""Which language a document is in, and which parts of it are in another one."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from py3langid.langid import MODEL_FILE, LanguageIdentifier

from services.documents.model.parsed import BlockKind, Draft

# Written by many; between the others and these a short text could only be guessed.
_LANGUAGES = (
    *("ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "eu", "fa", "fi", "fr", "ga", "he", "hi", "hr"),
    *("hu", "hy", "id", "it", "ja", "ko", "lt", "lv", "ms", "ne", "nl", "no", "pl", "pt", "ro", "ru", "sk", "sl", "sr"),
    *("sv", "ta", "th", "tr", "uk", "ur", "vi", "zh"),
)
_CONFIDENCE = 0.5
_SAMPLE_CHARACTERS = 4000
# A part is some blocks in a row, from a heading on or from where the one before has so many characters. What has less
# running text is taken to be as all is, and so is what is not quite clear: relatives like Danish and Norwegian.
_PART_CHARACTERS = 1500
_LEAST_CHARACTERS = 200
_CERTAINTY = 0.99
_RUNNING = (BlockKind.PARAGRAPH, BlockKind.LIST)

_identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
_identifier.set_languages(_LANGUAGES)


def detect(blocks: Iterable[Draft]) -> str:
    """The ISO 639-1 code of the language that most is in, running text first; empty where none is likely."""
    parts: list[str] = []
    length = 0
    for block in sorted(blocks, key=lambda block: block.kind is not BlockKind.PARAGRAPH):
        parts.append(block.text[:_SAMPLE_CHARACTERS])
        length += len(parts[-1])
        if length >= _SAMPLE_CHARACTERS:
            break
    code, confidence = _identifier.classify("\n".join(parts)[:_SAMPLE_CHARACTERS])
    return str(code) if confidence >= _CONFIDENCE else ""


def in_languages(blocks: Iterable[Draft], language: str) -> list[Draft]:
    """The blocks of a document in this language, with those that are clearly in another one marked."""
    found: list[Draft] = []
    for part in _parts(blocks):
        code = _other(part, language)
        found += [replace(block, language=code) for block in part] if code else part
    return found


def _parts(blocks: Iterable[Draft]) -> Iterator[list[Draft]]:
    part: list[Draft] = []
    length = 0
    for block in blocks:
        begins = block.kind is BlockKind.HEADING and bool(part) and part[-1].kind is not BlockKind.HEADING
        if begins or length >= _PART_CHARACTERS:
            yield part
            part, length = [], 0
        part.append(block)
        length += len(block.text)
    if part:
        yield part


def _other(part: Sequence[Draft], language: str) -> str:
    text = "\n".join(block.text[:_PART_CHARACTERS] for block in part if block.kind in _RUNNING)[:_PART_CHARACTERS]
    if len(text) < _LEAST_CHARACTERS:
        return ""
    code, confidence = _identifier.classify(text)
    return str(code) if code != language and confidence >= _CERTAINTY else ""
