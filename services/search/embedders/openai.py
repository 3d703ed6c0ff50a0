"""Embeddings by any endpoint that speaks OpenAI's protocol: a provider's, or vLLM, Ollama and their like at home.

https://platform.openai.com/docs/api-reference/embeddings. By httpx rather than the `openai` package: it is one request,
and its time, its size, its pace and each retry of it are ours to bound.
"""

import random
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx
import numpy as np
import orjson
from numpy.typing import NDArray
from pydantic import SecretStr

from services.kernel.config import ConfigError
from services.kernel.deadline import seconds_left
from services.search.embedders.port import ProviderRefused, ProviderUnavailable, TextRefused
from services.search.embedders.rate_limit import RateLimiter, Time

# How long one request may take, and how long a call with all its retries.
REQUEST_SECONDS = 30.0
_TEXTS_SECONDS = 60.0
_QUERY_SECONDS = 3.0
_ATTEMPTS = 5
_FIRST_DELAY = 0.5
_MAX_RETRY_AFTER = timedelta(hours=1)

# The fewest bytes of UTF-8 that a token stands for on average in any language; in English it is four.
_TOKEN_BYTES = 3
# Of one request. Some providers take no more.
_REQUEST_TOKENS = 16_000
# The longest that a float is written, with what stands around it; and what stands around the vectors.
_NUMBER_BYTES = 32
_ENVELOPE_BYTES = 64 * 1024

_RETRIED = frozenset({408, 409, 425, 429})
# For these a text can be to blame, and not only who asks.
_OF_TEXTS = frozenset({400, 413, 422})
_NO_CREDIT = "The account at the provider has no credit left."
_BAD_KEY = "The provider does not accept the key."
_NO_MODEL = "The provider does not know the model, or its URL is another."
_BY_STATUS = {401: _BAD_KEY, 402: _NO_CREDIT, 403: _BAD_KEY, 404: _NO_MODEL}
# Whatever the status is.
_BY_CODE = {"insufficient_quota": _NO_CREDIT, "invalid_api_key": _BAD_KEY, "model_not_found": _NO_MODEL}
# An answer's words are not repeated, as they may hold the key or the text; a code in this form holds neither.
_CODE = re.compile(rb'"(?:code|type)"\s*:\s*"([a-z_]{1,64})"')
_TOO_LONG = re.compile(rb"context.length|too.long|too.many.tokens", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is, and what it may be asked; `url` is what `/embeddings` comes after, e.g. `https://…/v1`.

    `dimensions` are what it answers with; they are asked for only with `send_dimensions`, as not every model can be.
    The limits per minute are of this process.
    """

    url: str
    key: SecretStr
    model: str
    dimensions: int
    send_dimensions: bool = False
    max_tokens: int = 8_000
    max_batch: int = 64
    requests_per_minute: int = 3_000
    tokens_per_minute: int = 1_000_000


class OpenAiEmbedder:
    """An Embedder that asks an endpoint."""

    def __init__(self, endpoint: Endpoint, *, request_seconds: float = REQUEST_SECONDS, clock: Time = time) -> None:
        """Raises ConfigError where the endpoint's URL or key cannot be one."""
        self._endpoint = endpoint
        self._request_seconds = request_seconds
        self._time = clock
        self._limiter = RateLimiter(endpoint.requests_per_minute, endpoint.tokens_per_minute, clock)
        self._url = _url(endpoint.url)
        # An answer that is not compressed is as long as it says.
        self._client = httpx.Client(headers={"accept-encoding": "identity", **_authorization(endpoint.key)})

    @property
    def name(self) -> str:
        """The model."""
        return self._endpoint.model

    @property
    def dimensions(self) -> int:
        """The length of the vectors."""
        return self._endpoint.dimensions

    @property
    def max_batch(self) -> int:
        """How many texts one request holds."""
        return self._endpoint.max_batch

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Passages to texts × dimensions; a text that is too long is cut.

        Raises ProviderUnavailable or ProviderRefused; CallDeadlineExceeded where the call around it has no time left.
        """
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        done = 0
        for batch in self._batches(texts):
            vectors[done : done + len(batch)] = self._ask(batch, _TEXTS_SECONDS)
            done += len(batch)
        return vectors

    def embed_query(self, text: str) -> NDArray[np.float32]:
        """A query to its vector, within seconds. Raises as `embed_texts` does."""
        vector: NDArray[np.float32] = self._ask([self._cut(text)], _QUERY_SECONDS)[0]
        return vector

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def _cut(self, text: str) -> str:
        return text.encode()[: self._endpoint.max_tokens * _TOKEN_BYTES].decode(errors="ignore")

    def _batches(self, texts: Sequence[str]) -> Iterator[list[str]]:
        batch: list[str] = []
        tokens = 0
        for text in map(self._cut, texts):
            if batch and (len(batch) == self.max_batch or tokens + _tokens(text) > _REQUEST_TOKENS):
                yield batch
                batch, tokens = [], 0
            batch.append(text)
            tokens += _tokens(text)
        if batch:
            yield batch

    def _ask(self, texts: Sequence[str], patience: float) -> NDArray[np.float32]:
        """The texts' vectors, by as many attempts as fit into so many seconds, and into the deadline of the call."""
        deadline = self._time.monotonic() + seconds_left(patience)
        tokens = sum(map(_tokens, texts))
        attempts = 0
        while True:
            attempts += 1
            self._limiter.wait(tokens, deadline)
            try:
                return self._attempt(texts, deadline)
            except ProviderUnavailable as error:
                delay = _FIRST_DELAY * 2 ** (attempts - 1) * random.uniform(0.5, 1)  # noqa: S311  # jitter
                seconds = max(delay, error.retry_after.total_seconds() if error.retry_after else 0.0)
                if attempts == _ATTEMPTS or self._time.monotonic() + seconds >= deadline:
                    raise ProviderUnavailable(str(error), timedelta(seconds=seconds)) from error
                self._time.sleep(seconds)

    def _attempt(self, texts: Sequence[str], deadline: float) -> NDArray[np.float32]:
        asked = {"dimensions": self.dimensions} if self._endpoint.send_dimensions else {}
        request = {"model": self.name, "input": texts, "encoding_format": "float", **asked}
        limit = _ENVELOPE_BYTES + len(texts) * self.dimensions * _NUMBER_BYTES
        seconds = min(self._request_seconds, max(deadline - self._time.monotonic(), 0.0))
        try:
            response, body = self._post(orjson.dumps(request), seconds, limit)
        except httpx.TimeoutException as error:
            raise ProviderUnavailable("The provider did not answer in time.") from error
        except httpx.TransportError as error:
            raise ProviderUnavailable(f"The exchange with the provider broke: {type(error).__name__}.") from error
        if response.status_code != httpx.codes.OK:
            raise _failure(response, body)
        if len(body) > limit:
            raise ProviderRefused("The provider's answer is longer than vectors of these dimensions are.")
        return _vectors(body, len(texts), self.dimensions)

    def _post(self, content: bytes, seconds: float, limit: int) -> tuple[httpx.Response, bytes]:
        """The answer and its body, or the body's beginning where it is longer than the limit. Raises TransportError."""
        end = self._time.monotonic() + seconds
        headers = {"content-type": "application/json"}
        body = bytearray()
        with self._client.stream("POST", self._url, content=content, headers=headers, timeout=seconds) as response:
            for part in response.iter_raw():
                body += part
                if len(body) > limit:
                    break
                if self._time.monotonic() > end:
                    raise httpx.ReadTimeout("The answer comes too slowly.")
        return response, bytes(body)


def _url(base: str) -> httpx.URL:
    try:
        url = httpx.URL(f"{base.rstrip('/')}/embeddings")
    except httpx.InvalidURL:
        url = httpx.URL()
    # A password in it would be in the log of each request.
    if url.scheme not in {"http", "https"} or not url.host or url.userinfo or url.query or url.fragment:
        raise ConfigError("The embedder's URL must be an http(s) URL without user, query and fragment.")
    return url


def _authorization(key: SecretStr) -> dict[str, str]:
    secret = key.get_secret_value()
    if not secret:
        return {}
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ConfigError("The embedder's key has characters that a key cannot have.")
    return {"authorization": f"Bearer {secret}"}


def _tokens(text: str) -> int:
    """How many tokens a text has, or somewhat fewer: the tokenizer is the provider's."""
    return len(text.encode()) // _TOKEN_BYTES + 1


def _failure(response: httpx.Response, body: bytes) -> ProviderUnavailable | ProviderRefused:
    """What an answer that is not 200 means."""
    status = response.status_code
    codes = [code.decode() for code in _CODE.findall(body)]
    if said := [_BY_CODE[code] for code in codes if code in _BY_CODE]:
        return ProviderRefused(said[0])
    if status in _RETRIED or status >= httpx.codes.INTERNAL_SERVER_ERROR:
        return ProviderUnavailable(f"The provider answered {status}.", _retry_after(response))
    if status in _BY_STATUS:
        return ProviderRefused(_BY_STATUS[status])
    if status == httpx.codes.REQUEST_ENTITY_TOO_LARGE or _TOO_LONG.search(body):
        return TextRefused("A text is longer than the model takes: fewer tokens have to be allowed.")
    refused = TextRefused if status in _OF_TEXTS else ProviderRefused
    return refused(f"The provider answered {' '.join([str(status), *codes])}.")


def _retry_after(response: httpx.Response) -> timedelta | None:
    """RFC 9110, 10.2.3: seconds, or a date."""
    value = response.headers.get("retry-after", "")
    try:
        after = timedelta(seconds=float(value))
    except (ValueError, OverflowError):
        try:
            after = parsedate_to_datetime(value) - datetime.now(UTC)
        except (ValueError, TypeError):
            return None
    return min(max(after, timedelta(0)), _MAX_RETRY_AFTER)


def _vectors(body: bytes, count: int, dimensions: int) -> NDArray[np.float32]:
    """The vectors of an answer, in the order of the texts, of length 1. Raises ProviderRefused."""
    try:
        items = {item["index"]: item["embedding"] for item in orjson.loads(body)["data"]}
        vectors = np.array([items.pop(index) for index in range(count)], np.float64)
    except (KeyError, TypeError, ValueError):
        raise ProviderRefused("The provider's answer is not one vector for each text.") from None
    if items or vectors.ndim != 2:
        raise ProviderRefused("The provider's answer is not one vector for each text.")
    if vectors.shape[1] != dimensions:
        raise ProviderRefused(f"The provider's vectors have {vectors.shape[1]} dimensions instead of {dimensions}.")
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not (np.isfinite(lengths) & (lengths > 0)).all():
        raise TextRefused("The provider's vectors are not all of finite numbers, or are zero.")
    result: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
    return result
