"""The process that fits and folds: it answers as the library does, and its end is heard of."""

import os
import signal

import numpy as np
import pytest

from services.search.embedders.lsa import ChildFailed, LsaChild
from services.search.model import analysis, lsa, postings
from tests.search.topics import TOPICS, about
from tests.support.waiting import descendants, until_gone

TEXTS = [text for topic in TOPICS for text in about(topic, 80)]
NUMBERS = np.arange(len(TEXTS), dtype=np.int32)
BUILT = postings.build(0, [analysis.terms(text, "en") for text in TEXTS])
ROWS = [(term, found.encode()) for term, found in BUILT.items()]


def nothing() -> None:
    """Nobody wants the work to end."""


def test_it_answers_as_the_library_does() -> None:
    occurrences = lsa.Occurrences(NUMBERS)
    for term, found in BUILT.items():
        occurrences.add(term, found.chunk_nos, found.tfs)
    expected = lsa.fit(occurrences)
    with LsaChild(nothing) as child:
        child.begin(NUMBERS)
        child.add(dict(ROWS[:100]))
        child.add(dict(ROWS[100:]))
        parts = child.fit()
        child.begin(NUMBERS[50:60])
        child.add(dict(ROWS))
        folded = child.fold()
    assert parts is not None
    assert lsa.Projection.from_parts(parts).rows == expected.rows
    # Of one thread or several, sums differ in their last digits.
    assert np.allclose(np.abs(folded), np.abs(expected.fold_all(occurrences)[50:60]), atol=0.02)


def test_too_little_is_no_failure() -> None:
    with LsaChild(nothing) as child:
        child.begin(NUMBERS[:10])
        assert child.fit() is None


def test_a_child_that_is_killed_is_told_of_and_none_is_left() -> None:
    before = set(descendants(os.getpid()))
    with LsaChild(nothing) as child:
        (pid,) = set(descendants(os.getpid())) - before
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(ChildFailed, match="status -9"):
            child.fold()
    until_gone([pid])


def test_a_child_that_fails_says_why() -> None:
    with LsaChild(nothing) as child:
        child.load([b"that is no projection"])
        with pytest.raises(ChildFailed, match=r"(?s)status 1: .*ProjectionDamaged"):
            child.fold()


def test_whoever_wants_no_more_waits_no_longer() -> None:
    class Enough(Exception):
        pass

    def stop() -> None:
        raise Enough

    with LsaChild(stop) as child:
        child.begin(NUMBERS)
        with pytest.raises(Enough):
            child.fit()
    before = set(descendants(os.getpid()))
    with LsaChild(stop) as child:
        (pid,) = set(descendants(os.getpid())) - before
        # It is at work, and reads no orders.
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(Enough):
            child.add({str(number): bytes(100_000) for number in range(20)})
