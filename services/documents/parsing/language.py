"""Which language a document is in."""

from collections.abc import Iterable

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
