"""`make bench-search` reads the collections of others, and measures what it says it does."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.bench_search.__main__ import main
from tests.bench_search.collection import CollectionError, read_trec
from tests.bench_search.judging import interval, judge

_SGML = """<DOC>
<DOCNO> d1 </DOCNO>
<TITLE>Wings</TITLE>
<TEXT>in a slipstream</TEXT>
</DOC>
<DOC><DOCNO>d2</DOCNO><TEXT>heat</TEXT></DOC>
"""
_TOPICS = """<top>
<num> Number: 301
<title> slipstream wings
<desc> Description: of any kind
</top>
"""


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


class TestReadTrec:
    def test_sgml_topics_and_four_columns(self, tmp_path: Path) -> None:
        (tmp_path / "docs").mkdir()
        written(tmp_path / "docs" / "a.sgml", _SGML)
        found = read_trec(
            tmp_path / "docs",
            written(tmp_path / "topics", _TOPICS),
            written(tmp_path / "qrels", "301 0 d1 2\n301 0 d2 0\n302 0 d2 1\n"),
        )
        assert [" ".join(text.split()) for text in found.documents.values()] == ["Wings in a slipstream", "heat"]
        assert found.queries == {"301": "slipstream wings"}
        assert found.gains == {"301": {"d1": 2, "d2": 0}}

    def test_json_lines_and_three_columns_with_a_head(self, tmp_path: Path) -> None:
        found = read_trec(
            written(tmp_path / "corpus.jsonl", '{"_id": "d1", "title": "Wings", "text": "in a slipstream"}\n'),
            written(tmp_path / "queries.jsonl", '{"_id": "q1", "text": "slipstream"}\n'),
            written(tmp_path / "test.tsv", "query-id\tcorpus-id\tscore\nq1\td1\t1\n"),
        )
        assert found.documents == {"d1": "Wings\nin a slipstream"}
        assert (found.queries, found.gains) == ({"q1": "slipstream"}, {"q1": {"d1": 1}})

    def test_queries_as_columns(self, tmp_path: Path) -> None:
        found = read_trec(
            written(tmp_path / "corpus.jsonl", '{"id": "d1", "contents": "wings"}\n'),
            written(tmp_path / "queries.tsv", 'q1\ta "quoted wing\n'),
            written(tmp_path / "qrels", "q1 0 d1 1\n"),
        )
        assert found.queries == {"q1": 'a "quoted wing'}

    def test_a_collection_without_judgements_is_not_measured(self, tmp_path: Path) -> None:
        docs = written(tmp_path / "corpus.jsonl", '{"id": "d1", "text": "wings"}\n')
        queries = written(tmp_path / "queries.tsv", "q1\twing\n")
        with pytest.raises(CollectionError, match="0 queries"):
            read_trec(docs, queries, written(tmp_path / "qrels", "q1 0 d1 0\n"))
        with pytest.raises(CollectionError, match="cannot be read"):
            read_trec(docs, queries, tmp_path / "missing")

    def test_a_record_without_a_name_is_told(self, tmp_path: Path) -> None:
        docs = written(tmp_path / "corpus.jsonl", '{"text": "wings"}\n')
        with pytest.raises(CollectionError, match="without any of _id"):
            read_trec(docs, docs, docs)


class TestMain:
    def test_a_small_collection_is_measured_by_words_alone(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        documents = [{"_id": f"d{number}", "text": f"wings of type {number}"} for number in range(20)]
        docs = written(tmp_path / "corpus.jsonl", "\n".join(map(json.dumps, documents)))
        queries = written(tmp_path / "queries.tsv", "q1\ttype 7\nq2\twing 11\n")
        qrels = written(tmp_path / "qrels", "q1 0 d7 1\nq2 0 d11 1\n")
        assert main(["--docs", str(docs), "--queries", str(queries), "--qrels", str(qrels), "--language", "en"]) == 0
        printed = capsys.readouterr().out
        assert "20 documents, 2 queries, 2 judgements" in printed
        assert "lexical" in printed
        assert "hybrid" not in printed

    def test_what_is_missing_is_not_measured(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        missing = str(tmp_path / "missing")
        assert main(["--docs", missing, "--queries", missing, "--qrels", missing]) == 1
        assert "Not measured" in capsys.readouterr().out


def test_an_interval_tells_a_difference_from_chance() -> None:
    generator = np.random.default_rng(1)
    base = generator.random(200)
    low, high = interval(base + 0.1, base)
    assert low == pytest.approx(high) == pytest.approx(0.1)
    low, high = interval(base, generator.permutation(base))
    assert low < 0 < high


def test_a_searcher_is_asked_for_each_query(tmp_path: Path) -> None:
    collection = read_trec(
        written(tmp_path / "corpus.jsonl", '{"id": "d1", "text": "wings"}\n{"id": "d2", "text": "heat"}\n'),
        written(tmp_path / "queries.tsv", "q1\twing\nq2\theat\n"),
        written(tmp_path / "qrels", "q1 0 d1 2\nq2 0 d2 1\n"),
    )
    judged = judge("always heat", collection, lambda _: ["d2", "d1"])
    assert judged.reciprocal_rank.tolist() == [0.5, 1.0]
    assert judged.ndcg.tolist() == judged.graded_ndcg.tolist()
