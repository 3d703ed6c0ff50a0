"""Vectors that are learnt from the workspace's own words."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from services.search.model import lsa
from services.search.model.lsa import Occurrences, Projection, ProjectionDamaged, TooLittleText

TOPICS = (
    ("motor wheel road garage tyre brake", "car", "automobile"),
    ("ward nurse patient surgery clinic pulse", "doctor", "physician"),
    ("court judge trial verdict appeal jury", "lawyer", "attorney"),
    ("harvest field grain tractor barn soil", "farmer", "grower"),
)


def corpus(count: int = 400, seed: int = 1) -> list[dict[str, int]]:
    """Chunks of one topic each, which name its subject by one of two words that are never in the same chunk."""
    rng = np.random.default_rng(seed)
    chunks = []
    for number in range(count):
        company, *subjects = TOPICS[number % len(TOPICS)]
        words = [*rng.choice(company.split(), 4), *rng.choice([f"filler{n}" for n in range(50)], 6)]
        chunks.append({subjects[number // len(TOPICS) % 2]: 2, **{str(word): 1 + words.count(word) for word in words}})
    return chunks


def gathered(chunks: Sequence[Mapping[str, int]], first_no: int = 0) -> Occurrences:
    """The chunks as they come out of the index: term by term, each in two postings."""
    nos = np.arange(first_no, first_no + len(chunks), dtype=np.int32)
    occurrences = Occurrences(nos)
    for term in sorted({term for chunk in chunks for term in chunk}):
        holding = [(no, chunk[term]) for no, chunk in zip(nos, chunks, strict=True) if term in chunk]
        for part in (holding[::2], holding[1::2]):
            occurrences.add(
                term, np.array([no for no, _ in part], np.int32), np.array([count for _, count in part], np.uint16)
            )
    return occurrences


class TestMeaning:
    def test_a_query_finds_chunks_that_say_it_in_another_word(self) -> None:
        chunks = corpus()
        projection = lsa.fit(gathered(chunks))
        similarity = projection.fold_all(gathered(chunks)) @ projection.fold({"automobile": 1})
        about_cars = [number % len(TOPICS) == 0 for number in range(len(chunks))]
        assert all("automobile" in chunks[number] or "car" in chunks[number] for number in np.argsort(-similarity)[:80])
        assert similarity[about_cars].mean() > 5 * abs(similarity[np.logical_not(about_cars)].mean())

    def test_chunks_of_later_are_folded_in_among_those_of_before(self) -> None:
        projection = lsa.fit(gathered(corpus()))
        later = projection.fold({"tyre": 1, "brake": 2, "unheard": 3})
        assert later @ projection.fold({"car": 1}) > 5 * abs(later @ projection.fold({"judge": 1}))

    def test_one_by_one_and_all_at_once_are_the_same_vectors(self) -> None:
        chunks = corpus()
        projection = lsa.fit(gathered(chunks))
        singly = np.stack([projection.fold(chunk) for chunk in chunks])
        assert np.allclose(projection.fold_all(gathered(chunks)), singly, atol=1e-5)

    def test_vectors_are_of_length_one_and_of_zero_where_no_word_is_known(self) -> None:
        projection = lsa.fit(gathered(corpus()))
        vectors = projection.fold_all(gathered([*corpus(3), {"unheard": 1}, {}]))
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), [1, 1, 1, 0, 0])
        assert not projection.fold({"unheard": 1}).any()


class TestFit:
    def test_the_same_corpus_gives_the_same_vectors(self) -> None:
        assert lsa.fit(gathered(corpus())).to_parts() == lsa.fit(gathered(corpus())).to_parts()

    @pytest.mark.parametrize(
        "chunks",
        [corpus(lsa.MIN_CHUNKS - 1), [{"same": 1, "words": 1}] * 400, [{f"once{number}": 1} for number in range(400)]],
        ids=["few chunks", "all alike", "nothing in common"],
    )
    def test_too_little_text_is_said_so(self, chunks: list[dict[str, int]]) -> None:
        with pytest.raises(TooLittleText):
            lsa.fit(gathered(chunks))

    def test_a_corpus_of_few_different_texts_has_few_dimensions(self) -> None:
        projection = lsa.fit(gathered(corpus(8) * 50))
        assert projection.dimensions <= 8
        assert np.isfinite(projection.matrix).all()

    def test_words_of_one_chunk_are_left_out_and_the_rarest_above_the_bound(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lsa, "MAX_TERMS", 60)
        chunks = corpus()
        projection = lsa.fit(gathered([*chunks, {"once": 1}]))
        assert "once" not in projection.rows
        found_in = {term: sum(term in chunk for chunk in chunks) for chunk in chunks for term in chunk}
        left_out = found_in.keys() - projection.rows.keys()
        assert len(projection.rows) == 60
        assert max(found_in[term] for term in left_out) <= min(found_in[term] for term in projection.rows)

    def test_a_large_corpus_is_fitted_on_a_fair_choice_of_its_chunks(self) -> None:
        nos = np.arange(7, 100_007, dtype=np.int32)
        chosen = lsa.sample(nos)
        assert len(chosen) == lsa.MAX_FITTED_CHUNKS
        assert (np.diff(chosen) > 0).all()
        assert len(np.unique(np.diff(chosen))) > 5
        assert np.isin(chosen, nos).all()
        assert np.histogram(chosen, 10)[0].min() > 2_500
        assert (lsa.sample(nos) == chosen).all()
        assert (lsa.sample(nos[:500]) == nos[:500]).all()

    def test_postings_of_other_chunks_are_passed_over(self) -> None:
        occurrences = Occurrences(np.array([3, 8], np.int32))
        occurrences.add("word", np.array([1, 3, 9], np.int32), np.array([5, 1, 5], np.uint16))
        occurrences.add("word", np.array([8], np.int32), np.array([7], np.uint16))
        assert occurrences.terms == ["word"]
        assert np.allclose(occurrences.weights().toarray(), [[1], [1 + np.log(7)]])


class TestBytes:
    def test_a_projection_is_kept_in_small_parts_and_read_again(self) -> None:
        rng = np.random.default_rng(0)
        rows = {f"mot-größe{number}": number for number in range(9_000)}
        kept = Projection(rows, rng.standard_normal((9_000, 200)).astype(np.float16))
        parts = kept.to_parts()
        assert len(parts) == 58
        assert max(map(len, parts)) <= lsa.PART_BYTES
        read = Projection.from_parts(parts)
        assert read.rows == rows
        assert (read.matrix == kept.matrix).all()
        query = {"mot-größe17": 1, "mot-größe8999": 2}
        assert (read.fold(query) == kept.fold(query)).all()

    @pytest.mark.parametrize(
        "damage",
        [
            lambda parts: parts[:-1],
            lambda parts: parts[::-1],
            lambda parts: [parts[0][:-1] + bytes([parts[0][-1] ^ 1]), *parts[1:]],
            lambda parts: [],
        ],
        ids=["a part missing", "out of order", "a bit turned", "nothing"],
    )
    def test_damage_is_seen(self, damage: object, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lsa, "PART_BYTES", 4_000)
        parts = lsa.fit(gathered(corpus())).to_parts()
        assert callable(damage)
        with pytest.raises(ProjectionDamaged):
            Projection.from_parts(damage(parts))
