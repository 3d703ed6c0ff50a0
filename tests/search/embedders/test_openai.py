"""Embeddings over OpenAI's protocol, from a provider on a real socket."""

import json
import logging
import socket
import time
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import SecretStr

from services.kernel.config import ConfigError
from services.kernel.deadline import reset_deadline, set_deadline
from services.kernel.errors import CallDeadlineExceeded
from services.search.embedders.openai import OpenAiEmbedder
from services.search.embedders.port import Embedder, ProviderRefused, ProviderUnavailable, TextRefused
from tests.search.embedders.held_time import HeldTime
from tests.search.embedders.provider import (
    KEY,
    Manner,
    Provider,
    dripping,
    embedding,
    failing,
    hanging,
    hanging_up,
    numbers,
    running,
    saying,
)

TEXTS = ["one", "two of them", "three", "été", "five"]


class RealTime:
    """Time that passes, in which nobody waits between attempts."""

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float, /) -> None:
        """At once."""


def expected(texts: list[str]) -> NDArray[np.float64]:
    vectors = np.array([numbers(text) for text in texts])
    of_length_one: NDArray[np.float64] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return of_length_one


class TestVectors:
    def test_each_text_gets_its_own_whatever_the_order_of_the_answer(
        self, embedder: OpenAiEmbedder, provider: Provider
    ) -> None:
        port: Embedder = embedder
        vectors = port.embed_texts(TEXTS)
        assert vectors.dtype == np.float32
        assert np.allclose(vectors, expected(TEXTS))
        assert np.allclose(port.embed_query("three"), vectors[2])
        assert (port.name, port.dimensions, len(provider.asked)) == ("test-model", 4, 2)

    def test_the_request_is_the_protocols(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        embedder.embed_query("one")
        (asked,) = provider.asked
        assert asked.path == "/v1/embeddings"
        assert asked.headers["authorization"] == f"Bearer {KEY}"
        assert asked.body == {"model": "test-model", "input": ["one"], "encoding_format": "float"}

    def test_dimensions_are_asked_for_where_that_is_set_and_no_key_is_sent_where_there_is_none(
        self, provider: Provider
    ) -> None:
        OpenAiEmbedder(provider.endpoint(send_dimensions=True, key=SecretStr(""))).embed_query("one")
        (asked,) = provider.asked
        assert asked.body["dimensions"] == 4
        assert "authorization" not in asked.headers

    def test_a_request_holds_no_more_texts_than_it_may(self, provider: Provider) -> None:
        vectors = OpenAiEmbedder(provider.endpoint(max_batch=2)).embed_texts(TEXTS)
        assert [asked.texts for asked in provider.asked] == [TEXTS[:2], TEXTS[2:4], TEXTS[4:]]
        assert np.allclose(vectors, expected(TEXTS))

    def test_a_request_holds_no_more_tokens_than_providers_take(
        self, embedder: OpenAiEmbedder, provider: Provider
    ) -> None:
        texts = ["word " * 4_000, "word " * 4_000, "word " * 4_000, "one"]
        embedder.embed_texts(texts)
        assert [len(asked.texts) for asked in provider.asked] == [2, 2]

    def test_what_is_longer_than_the_model_takes_is_cut_between_letters(self, provider: Provider) -> None:
        OpenAiEmbedder(provider.endpoint(max_tokens=3)).embed_texts(["abcdefgh€", "short"])
        assert provider.asked[0].texts == ["abcdefgh", "short"]

    def test_no_texts_are_no_request(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        assert embedder.embed_texts([]).shape == (0, 4)
        assert not provider.asked

    def test_the_limit_of_calls_a_minute_is_kept(self, provider: Provider, held: HeldTime) -> None:
        embedder = OpenAiEmbedder(provider.endpoint(requests_per_minute=6, max_batch=1), clock=held)
        embedder.embed_texts(TEXTS[:3])
        assert held.sleeps == pytest.approx([10, 10])


class TestAway:
    """What passes is waited for; what lasts is said, with when to come back."""

    def test_a_limit_is_waited_for_as_long_as_the_provider_says(
        self, embedder: OpenAiEmbedder, provider: Provider, held: HeldTime
    ) -> None:
        provider.manners = [failing(429, retry_after="7"), failing(429, retry_after="2.5")]
        assert np.allclose(embedder.embed_texts(TEXTS), expected(TEXTS))
        assert held.sleeps == [7, 2.5]

    @pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 529])
    def test_faults_are_tried_again_ever_later(
        self, embedder: OpenAiEmbedder, provider: Provider, held: HeldTime, status: int
    ) -> None:
        provider.manners = [saying(status, "<html>"), saying(status), failing(status)]
        assert np.allclose(embedder.embed_texts(TEXTS), expected(TEXTS))
        assert len(provider.asked) == 4
        assert all(low <= wait <= 2 * low for wait, low in zip(held.sleeps, (0.25, 0.5, 1), strict=True))

    def test_after_five_attempts_it_gives_up(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        provider.manners = [failing(503)] * 5
        with pytest.raises(ProviderUnavailable, match="answered 503") as caught:
            embedder.embed_texts(TEXTS)
        assert len(provider.asked) == 5
        assert caught.value.retry_after is not None

    @pytest.mark.parametrize("as_date", [False, True])
    def test_a_long_wait_is_left_to_the_caller(
        self, embedder: OpenAiEmbedder, provider: Provider, held: HeldTime, as_date: bool
    ) -> None:
        then = format_datetime(datetime.now(UTC) + timedelta(seconds=3000), True)
        provider.manners = [failing(429, retry_after=then if as_date else "3000")]
        with pytest.raises(ProviderUnavailable) as caught:
            embedder.embed_texts(TEXTS)
        assert (len(provider.asked), held.sleeps) == (1, [])
        assert caught.value.retry_after is not None
        assert 2900 < caught.value.retry_after.total_seconds() <= 3000

    @pytest.mark.parametrize("retry_after", ["soon", "-5", "nan", "inf", "1e400", "Wed, 21 Oct 2015 07:28:00 GMT"])
    def test_a_wait_that_makes_no_sense_is_not_waited(
        self, embedder: OpenAiEmbedder, provider: Provider, held: HeldTime, retry_after: str
    ) -> None:
        provider.manners = [failing(429, retry_after=retry_after)]
        assert embedder.embed_query("one").shape == (4,)
        assert 0 < sum(held.sleeps) < 1

    def test_a_query_does_not_wait_as_long_as_a_batch(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        provider.manners = [failing(429, retry_after="5")]
        with pytest.raises(ProviderUnavailable):
            embedder.embed_query("one")

    def test_nobody_waits_beyond_the_deadline_of_the_call(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        provider.manners = [failing(429, retry_after="5")]
        token = set_deadline(time.monotonic() + 4)
        try:
            with pytest.raises(ProviderUnavailable):
                embedder.embed_texts(TEXTS)
        finally:
            reset_deadline(token)
        token = set_deadline(time.monotonic() - 1)
        try:
            with pytest.raises(CallDeadlineExceeded):
                embedder.embed_texts(TEXTS)
        finally:
            reset_deadline(token)
        assert len(provider.asked) == 1

    @pytest.mark.parametrize("manner", [hanging, dripping])
    def test_an_answer_that_does_not_come_to_an_end_is_given_up(self, provider: Provider, manner: Manner) -> None:
        provider.manners = [manner] * 5
        embedder = OpenAiEmbedder(provider.endpoint(), request_seconds=0.1, clock=RealTime())
        with pytest.raises(ProviderUnavailable, match="in time"):
            embedder.embed_texts(TEXTS)
        assert len(provider.asked) == 5

    def test_an_exchange_that_breaks_is_tried_again(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        provider.manners = [hanging_up, hanging_up]
        assert np.allclose(embedder.embed_texts(TEXTS), expected(TEXTS))

    def test_where_nobody_listens(self, provider: Provider, held: HeldTime) -> None:
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/v1"
            with pytest.raises(ProviderUnavailable, match="ConnectError"):
                OpenAiEmbedder(provider.endpoint(url=url), clock=held).embed_query("one")


class TestRefused:
    """What a retry does not help is asked once."""

    @pytest.mark.parametrize(
        ("manner", "reason"),
        [
            (failing(401), "does not accept the key"),
            (failing(403), "does not accept the key"),
            (failing(404, "model_not_found"), "does not know the model"),
            (failing(400, "context_length_exceeded"), "longer than the model takes"),
            (saying(400, '{"object":"error","message":"maximum context length is 512","code":400}'), "longer than the"),
            (failing(413), "longer than the model takes"),
            (failing(429, "insufficient_quota"), "no credit"),
            (failing(400, "invalid_dimensions"), "answered 400 error invalid_dimensions"),
            (saying(302, location="http://127.0.0.1:1/"), "answered 302"),
        ],
    )
    def test_the_reason_is_said(
        self, embedder: OpenAiEmbedder, provider: Provider, manner: Manner, reason: str
    ) -> None:
        provider.manners = [manner]
        with pytest.raises(ProviderRefused, match=reason):
            embedder.embed_texts(TEXTS)
        assert len(provider.asked) == 1

    @pytest.mark.parametrize(
        ("manner", "of_text"),
        [
            (failing(400, "content_filter"), True),
            (failing(413), True),
            (failing(422), True),
            (embedding(lambda text: [1.0, None, 2.0, 3.0]), True),
            (embedding(lambda text: [0, 0, 0, 0]), True),
            (failing(400, "invalid_api_key"), False),
            (failing(400, "model_not_found"), False),
            (failing(401), False),
            (failing(402), False),
            (failing(404), False),
            (failing(429, "insufficient_quota"), False),
            (saying(302, location="http://127.0.0.1:1/"), False),
            (embedding(lambda text: [1.0, 2.0, 3.0]), False),
            (saying(200, "<html>Welcome</html>"), False),
        ],
    )
    def test_a_text_is_told_from_all_of_them(
        self, embedder: OpenAiEmbedder, provider: Provider, manner: Manner, of_text: bool
    ) -> None:
        provider.manners = [manner]
        with pytest.raises(ProviderRefused) as refusal:
            embedder.embed_query("one")
        assert isinstance(refusal.value, TextRefused) is of_text

    @pytest.mark.parametrize(
        ("manner", "reason"),
        [
            (embedding(lambda text: [1.0, 2.0, 3.0]), "3 dimensions instead of 4"),
            (embedding(lambda text: [1.0] * 400), "400 dimensions instead of 4"),
            (embedding(lambda text: [1.0] * len(text)), "not one vector for each text"),
            (embedding(lambda text: [1.0, None, 2.0, 3.0]), "finite"),
            (embedding(lambda text: [1.0, 1e300, 2.0, float("nan")]), "not one vector for each text"),
            (embedding(lambda text: [0, 0, 0, 0]), "zero"),
            (embedding(lambda text: [[1.0], [1.0], [1.0], [1.0]]), "not one vector for each text"),
            (saying(200, "<html>Welcome</html>"), "not one vector for each text"),
            (saying(200, '{"data": [{"index": 0, "embedding": [1, 2, 3, 4]}]}'), "not one vector for each text"),
            (
                saying(200, json.dumps({"data": [{"index": at, "embedding": [1, 2, 3, 4]} for at in range(6)]})),
                "not one vector for each text",
            ),
            (saying(200, " " * 1_000_000), "longer than vectors"),
        ],
    )
    def test_an_answer_that_cannot_be_used_is_none(
        self, embedder: OpenAiEmbedder, provider: Provider, manner: Manner, reason: str
    ) -> None:
        provider.manners = [manner]
        with pytest.raises(ProviderRefused, match=reason):
            embedder.embed_texts(TEXTS)
        assert len(provider.asked) == 1


class TestSecret:
    @pytest.mark.parametrize("manner", [failing(401), failing(400, "bad"), failing(503), hanging_up])
    def test_the_key_is_in_no_error_and_no_log(
        self, embedder: OpenAiEmbedder, provider: Provider, manner: Manner, caplog: pytest.LogCaptureFixture
    ) -> None:
        provider.manners = [manner] * 5
        with caplog.at_level(logging.DEBUG), pytest.raises((ProviderRefused, ProviderUnavailable)) as caught:
            embedder.embed_texts(TEXTS)
        shown = (
            caplog.text + repr(embedder) + repr(provider.endpoint()) + "".join(traceback.format_exception(caught.value))
        )
        assert "POST" in caplog.text
        assert KEY not in shown

    def test_it_goes_nowhere_else(self, embedder: OpenAiEmbedder, provider: Provider) -> None:
        with running() as other:
            provider.manners = [saying(307, location=f"{other.url}/embeddings")]
            with pytest.raises(ProviderRefused):
                embedder.embed_texts(TEXTS)
            assert not other.asked

    @pytest.mark.parametrize("key", ["two\nlines", "a word", "clé"])
    def test_one_that_cannot_be_a_key_is_refused_unseen(self, provider: Provider, key: str) -> None:
        with pytest.raises(ConfigError) as caught:
            OpenAiEmbedder(provider.endpoint(key=SecretStr(key)))
        assert key not in "".join(traceback.format_exception(caught.value))

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "localhost:11434/v1",
            "ftp://example.com",
            "http://",
            "http://user:pass@example.com",
            "http://a.b/v1?key=1",
        ],
    )
    def test_a_url_that_holds_one_or_is_none_is_refused(self, provider: Provider, url: str) -> None:
        with pytest.raises(ConfigError, match="without user") as caught:
            OpenAiEmbedder(provider.endpoint(url=url))
        assert "pass@" not in "".join(traceback.format_exception(caught.value))
