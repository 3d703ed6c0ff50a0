"""bm25s beside us: with its own words, and with ours."""

from collections.abc import Callable, Sequence

import bm25s
from Stemmer import Stemmer

from services.search.model.analysis import stems, words
from services.search.model.bm25 import K1, B
from services.search.model.languages import STEMMERS
from tests.bench_search.collection import Collection
from tests.bench_search.judging import Searcher
from tests.bench_search.library import DEPTH, Library

# What it takes where it is not told.
THEIR_K1 = 1.5
_LISTED = frozenset({"da", "de", "en", "es", "fr", "it", "nl", "no", "pt", "ru", "sv", "tr"})


def own_words(collection: Collection, language: str, k1: float) -> Searcher:
    """bm25s as it comes, with its own tokenizer and its stop words where it has them, and the stemmer that we use."""

    def tokens(texts: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            list(texts),
            stopwords=language if language in _LISTED else None,
            stemmer=Stemmer(STEMMERS[language]),
            return_ids=False,
            show_progress=False,
        )
        return found

    names = list(collection.documents)
    return _searcher(tokens(list(collection.documents.values())), names, k1, lambda text: tokens([text])[0])


def our_words(collection: Collection, library: Library) -> Searcher:
    """bm25s fed with the words that we index and look for, without compounds, which we weigh less."""

    def tokens(text: str) -> list[str]:
        groups = [group for group in library.read(text).groups if not group.compound]
        return [group.terms[0] for group in groups for _ in range(round(group.weight))]

    (language,) = library.languages
    documents = [
        stems([word.text for word in words(text) if not word.compound], language)
        for text in collection.documents.values()
    ]
    return _searcher(documents, library.names, K1, tokens)


def _searcher(
    documents: Sequence[Sequence[str]], names: Sequence[str], k1: float, tokens: Callable[[str], list[str]]
) -> Searcher:
    index = bm25s.BM25(k1=k1, b=B, method="lucene")
    index.index(documents, show_progress=False)
    depth = min(DEPTH, len(documents))

    def search(text: str) -> list[str]:
        known = [token for token in tokens(text) if token in index.vocab_dict]
        if not known:
            return []
        found, scores = index.retrieve([known], k=depth, show_progress=False)
        return [names[number] for number, score in zip(found[0], scores[0], strict=True) if score > 0]

    return search
