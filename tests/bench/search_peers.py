"""What search is printed beside: bm25s and tantivy, in process, without tenants, permissions, snippets or a network."""

import re
from collections.abc import Callable, Sequence

import bm25s
import tantivy
from Stemmer import Stemmer

from services.search.model.languages import STEMMERS

# Answers one query: how many hits there are.
Searcher = Callable[[str], int]

_LANGUAGE = "en"
_LIMIT = 10
_HEAP_BYTES = 256 * 1024 * 1024
_WORD = re.compile(r"\w+")


def with_bm25s(texts: Sequence[str]) -> Searcher:
    """bm25s with its stop words and the stemmer that we use."""
    stemmer = Stemmer(STEMMERS[_LANGUAGE])

    def tokens(some: Sequence[str]) -> list[list[str]]:
        found: list[list[str]] = bm25s.tokenize(
            list(some), stopwords=_LANGUAGE, stemmer=stemmer, return_ids=False, show_progress=False
        )
        return found

    index = bm25s.BM25(method="lucene")
    index.index(tokens(texts), show_progress=False)

    def search(query: str) -> int:
        known = [token for token in tokens([query])[0] if token in index.vocab_dict]
        if not known:
            return 0
        found, _ = index.retrieve([known], k=min(_LIMIT, len(texts)), show_progress=False)
        return len(found[0])

    return search


def with_tantivy(texts: Sequence[str]) -> Searcher:
    """tantivy with its English analyser, its index in memory."""
    schema = tantivy.SchemaBuilder()
    schema.add_text_field("text", tokenizer_name="en_stem")
    index = tantivy.Index(schema.build())
    writer = index.writer(_HEAP_BYTES, 1)
    for text in texts:
        writer.add_document(tantivy.Document(text=text))
    writer.commit()
    writer.wait_merging_threads()
    index.reload()
    searcher = index.searcher()

    def search(query: str) -> int:
        # In lower case: OR, AND and NOT are words of the text here.
        asked = index.parse_query(" ".join(_WORD.findall(query.lower())), ["text"])
        return len(searcher.search(asked, _LIMIT).hits)

    return search
