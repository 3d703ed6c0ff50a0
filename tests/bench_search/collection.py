"""Test collections: documents, queries and judgements, as Cranfield and TREC write them."""

import csv
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

# What a record of JSON Lines may call these, in the order of trust.
_IDS = ("_id", "id", "docno", "doc_id", "query_id", "qid")
_TITLES = ("title",)
_TEXTS = ("text", "contents", "body", "query", "title")
_TREC_DOC = re.compile(r"<DOC>(.*?)</DOC>", re.DOTALL | re.IGNORECASE)
_TREC_DOCNO = re.compile(r"<DOCNO>(.*?)</DOCNO>", re.DOTALL | re.IGNORECASE)
_TREC_TOP = re.compile(r"<top>(.*?)</top>", re.DOTALL | re.IGNORECASE)
_TREC_NUM = re.compile(r"<num>\s*(?:Number:)?\s*([^\s<]+)", re.IGNORECASE)
_TREC_TITLE = re.compile(r"<title>\s*(?:Topic:)?([^<]+)", re.IGNORECASE)
_TAG = re.compile(r"<[^>]*>")
_CRANFIELD_RECORD = re.compile(r"^\.I\s+(\d+)\s*$", re.MULTILINE)
_CRANFIELD_FIELD = re.compile(r"^\.([TABW])\s*$", re.MULTILINE)


class CollectionError(Exception):
    """The collection cannot be read, and why."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Texts and queries by name; and for each query the gain of each document that was judged, above 0 if relevant.

    Only queries to which some document is relevant are kept: the others measure nothing.
    """

    name: str
    documents: Mapping[str, str]
    queries: Mapping[str, str]
    gains: Mapping[str, Mapping[str, int]]


def read_cranfield(folder: Path) -> Collection:
    """Cranfield 1400: queries numbered by order, the `-1` of each dropped, gain = 5 - code."""
    documents = dict(_cranfield(folder / "cran.all.1400"))
    queries = {str(number): text for number, (_, text) in enumerate(_cranfield(folder / "cran.qry"), 1)}
    gains: dict[str, dict[str, int]] = {}
    for line in _lines(folder / "cranqrel"):
        query, document, code = line.split()
        if int(code) > 0:
            gains.setdefault(query, {})[document] = 5 - int(code)
    return _judged("Cranfield", documents, queries, gains)


def read_trec(docs: Path, queries: Path, qrels: Path) -> Collection:
    """Documents as JSON Lines or TREC's SGML (a file, or a folder of them), queries as TSV, JSON Lines or TREC topics.

    Judgements are TREC's `query iteration document gain`, or three columns without the iteration, as BEIR has them.
    """
    files = sorted(path for path in docs.rglob("*") if path.is_file()) if docs.is_dir() else [docs]
    documents = dict(record for path in files for record in _documents(path))
    gains: dict[str, dict[str, int]] = {}
    for line in _lines(qrels):
        fields = line.split()
        if not fields[-1].lstrip("-").isdigit():
            continue
        gains.setdefault(fields[0], {})[fields[-2]] = int(fields[-1])
    return _judged(docs.stem, documents, dict(_queries(queries)), gains)


def _judged(
    name: str, documents: Mapping[str, str], queries: Mapping[str, str], gains: Mapping[str, Mapping[str, int]]
) -> Collection:
    kept = {query: judged for query, judged in gains.items() if query in queries and max(judged.values()) > 0}
    if not documents or not kept:
        raise CollectionError(f"{name} has {len(documents)} documents and {len(kept)} queries with judgements")
    return Collection(name, documents, {query: queries[query] for query in kept}, kept)


def _cranfield(path: Path) -> Iterator[tuple[str, str]]:
    """Each record's number, and what stands in `.W`; it begins with the title."""
    _, *records = _CRANFIELD_RECORD.split(_text(path))
    for number, record in zip(records[::2], records[1::2], strict=True):
        _, *fields = _CRANFIELD_FIELD.split(record)
        yield number, dict(zip(fields[::2], fields[1::2], strict=True)).get("W", "").strip()


def _documents(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix in {".jsonl", ".json", ".ndjson"}:
        for record in map(json.loads, _lines(path)):
            parts = [str(record[key]) for key in (*_TITLES, *_TEXTS[:-1]) if record.get(key)]
            yield _first(record, _IDS, path), "\n".join(parts)
        return
    for found in _TREC_DOC.finditer(_text(path)):
        number = _TREC_DOCNO.search(found[1])
        if number is None:
            raise CollectionError(f"{path} has a document without a DOCNO")
        yield number[1].strip(), _TAG.sub(" ", found[1].replace(number[0], "")).strip()


def _queries(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix in {".jsonl", ".json", ".ndjson"}:
        for record in map(json.loads, _lines(path)):
            yield _first(record, _IDS, path), _first(record, _TEXTS, path)
        return
    text = _text(path)
    if "<top>" in text.lower():
        for topic in _TREC_TOP.finditer(text):
            number, title = _TREC_NUM.search(topic[1]), _TREC_TITLE.search(topic[1])
            if number is None or title is None:
                raise CollectionError(f"{path} has a topic without a number or a title")
            yield number[1], title[1].strip()
        return
    for row in csv.reader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if len(row) > 1:
            yield row[0].strip(), row[1].strip()


def _first(record: Mapping[str, object], keys: tuple[str, ...], path: Path) -> str:
    for key in keys:
        if record.get(key) not in (None, ""):
            return str(record[key])
    raise CollectionError(f"{path} has a record without any of {', '.join(keys)}")


def _lines(path: Path) -> list[str]:
    return [line for line in _text(path).split("\n") if line.strip()]


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8", errors="replace")
    except OSError as error:
        raise CollectionError(f"{path} cannot be read: {error.strerror}") from error
