"""Ingestions: versions of documents on their way from bytes to what can be found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self
from uuid import UUID

from services.documents.model.names import DOCUMENT, INGESTION

# After so many attempts that failed through the file or its worker, one is dead; to retry it allows as many again.
MOST_TRIES = 5
# A part that is away is waited for: over a night, and until people have seen to it in the morning.
PATIENCE = timedelta(days=1)
_ATTEMPTS_KEPT = 20
_WARNINGS_KEPT = 100
_WARNING_CHARACTERS = 300
_BROKEN_OFF = "The worker ended before the attempt did."
_CANCELLED = "It was cancelled."
# Whoever follows an ingestion tells what is newer by its time.
_TICK = timedelta(microseconds=1)


class IngestionState(StrEnum):
    """Where an ingestion stands. The first six are its stages, in their order."""

    RECEIVED = "received"
    SCANNED = "scanned"
    PARSED = "parsed"
    CHUNKED = "chunked"
    EMBEDDED = "embedded"
    INDEXED = "indexed"
    FAILED_RETRYING = "failed_retrying"
    DEAD = "dead"
    CANCELLED = "cancelled"
    COMPLETED_WITH_WARNINGS = "completed_with_warnings"

    @property
    def ended(self) -> bool:
        """Whether nothing happens any more by itself."""
        return self in ENDED

    @property
    def wire_name(self) -> str:
        """As clients know it."""
        return f"INGESTION_STATE_{self.name}"


ENDED = frozenset(
    {
        IngestionState.INDEXED,
        IngestionState.DEAD,
        IngestionState.CANCELLED,
        IngestionState.COMPLETED_WITH_WARNINGS,
    }
)

STATES_BY_WIRE_NAME = {state.wire_name: state.value for state in IngestionState}

# Before all of the text has been handed on.
_UNREAD = frozenset({IngestionState.RECEIVED, IngestionState.SCANNED, IngestionState.PARSED})


class IngestionReason(StrEnum):
    """Why an attempt failed."""

    UNSPECIFIED = ""
    ENCRYPTED = "encrypted"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    UNSUPPORTED = "unsupported"
    PARSER_CRASHED = "parser_crashed"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    PROVIDER_REFUSED = "provider_refused"
    DEPENDENCY_UNAVAILABLE = "dependency_unavailable"
    INTERNAL = "internal"

    @property
    def wire_name(self) -> str:
        """As clients know it."""
        return f"INGESTION_REASON_{self.name}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed, also as a sentence for people, and whether another one may end otherwise.

    `outage`: a part was away, and it says nothing of the file. The next attempt comes no sooner than `retry_after`, and
    begins behind the stage `back_to`, if the work of later ones is lost.
    """

    reason: IngestionReason
    message: str
    retryable: bool = True
    outage: bool = False
    retry_after: timedelta = timedelta(0)
    back_to: IngestionState | None = None


@dataclass(frozen=True, slots=True)
class IngestionAttempt:
    """One attempt; under way while it has no `end_time`. `stage` is the last one passed when it ended.

    `fence` is greater than those of the job's earlier attempts.
    """

    number: int
    fence: int
    start_time: datetime
    stage: IngestionState
    reason: IngestionReason = IngestionReason.UNSPECIFIED
    message: str = ""
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingestion:
    """A version on its way. `stage` is the last one passed; `reason` and `message` are of the last attempt that ended.

    `run` counts how often somebody has begun it again, `tries` the attempts since then that failed through the file or
    its worker, `outages` those in a row that met a part which is away, from `outage_time` on. `language`, `page_count`
    and `chunk_count` are known from the stage on that finds them out. Each method answers the ingestion after something
    happened.
    """

    workspace_id: UUID
    ingestion_id: UUID
    document_id: UUID
    document_version: int
    run: int
    state: IngestionState
    stage: IngestionState
    reason: IngestionReason
    message: str
    warnings: tuple[str, ...]
    language: str
    page_count: int
    chunk_count: int
    progress_done: int
    progress_total: int
    attempts: tuple[IngestionAttempt, ...]
    tries: int
    outages: int
    outage_time: datetime | None
    parsed_blob_id: UUID | None
    retry_time: datetime | None
    create_time: datetime
    update_time: datetime
    end_time: datetime | None

    @classmethod
    def received(
        cls, workspace_id: UUID, document_id: UUID, version: int, now: datetime, *, ingestion_id: UUID
    ) -> Self:
        """A new one, of bytes that have just arrived."""
        return cls(
            workspace_id=workspace_id,
            ingestion_id=ingestion_id,
            document_id=document_id,
            document_version=version,
            run=0,
            state=IngestionState.RECEIVED,
            stage=IngestionState.RECEIVED,
            reason=IngestionReason.UNSPECIFIED,
            message="",
            warnings=(),
            language="",
            page_count=0,
            chunk_count=0,
            progress_done=0,
            progress_total=0,
            attempts=(),
            tries=0,
            outages=0,
            outage_time=None,
            parsed_blob_id=None,
            retry_time=None,
            create_time=now,
            update_time=now,
            end_time=None,
        )

    @property
    def name(self) -> str:
        """The resource name."""
        return INGESTION.format(workspace=self.workspace_id, ingestion=self.ingestion_id)

    @property
    def document_name(self) -> str:
        """The resource name of the document."""
        return DOCUMENT.format(workspace=self.workspace_id, document=self.document_id)

    @property
    def is_to_be_read(self) -> bool:
        """Whether later stages lack its text: it is not parsed, or not all of it has been staged."""
        return self.stage in _UNREAD

    @property
    def may_be_found(self) -> bool:
        """Whether it ended otherwise than well, so late that search may have published it."""
        return self.can_begin_again and self.stage is IngestionState.EMBEDDED

    @property
    def under_way(self) -> IngestionAttempt | None:
        """The attempt that has not ended."""
        return self.attempts[-1] if self.attempts and self.attempts[-1].end_time is None else None

    def held_by(self, fence: int) -> bool:
        """Whether the attempt of this fence is at it: another one's work is not to count."""
        return not self.state.ended and self.under_way is not None and self.under_way.fence == fence

    def open_to(self, run: int, fence: int) -> bool:
        """Whether an attempt of a job of this run may begin."""
        at_it = self.under_way
        return not self.state.ended and self.run == run and (at_it is None or at_it.fence < fence)

    def begun(self, fence: int, now: datetime) -> Self:
        """With a new attempt, in the place of one that was broken off; dead where it would be one too many."""
        before = self.broken_off(now)
        if before.state.ended:
            return before
        number = before.attempts[-1].number + 1 if before.attempts else 1
        attempt = IngestionAttempt(number, fence, now, self.stage)
        attempts = (*before.attempts, attempt)[-_ATTEMPTS_KEPT:]
        return replace(
            before, state=self.stage, attempts=attempts, retry_time=None, update_time=_moment_after(before, now)
        )

    def broken_off(self, now: datetime) -> Self:
        """Without an attempt that never ended: it counts as one that failed, as it may be what ends workers."""
        if self.under_way is None:
            return self
        after = self.failed(Failure(IngestionReason.INTERNAL, _BROKEN_OFF), now, timedelta(0))
        return after if after.state.ended else replace(after, state=self.stage, retry_time=None)

    def let_go(self, now: datetime) -> Self:
        """Without the attempt under way, as if it had never begun: it was broken off through no fault of the file."""
        return replace(self, attempts=self.attempts[:-1], update_time=_moment_after(self, now))

    def progressed(self, done: int, total: int, now: datetime) -> Self:
        """So far in the stage under way; `total` is 0 where it is not known."""
        return replace(self, progress_done=done, progress_total=total, update_time=_moment_after(self, now))

    def passed(self, stage: IngestionState, now: datetime) -> Self:
        """With one more stage behind it: what was away for it is there again."""
        return replace(self.progressed(0, 0, now), state=stage, stage=stage, outages=0, outage_time=None)

    def parsed(
        self, blob_id: UUID, now: datetime, *, language: str = "", page_count: int = 0, warnings: Sequence[str] = ()
    ) -> Self:
        """With its text in a blob. Warnings are words of a stranger: so many are kept, and so much of each."""
        return replace(
            self.passed(IngestionState.PARSED, now),
            parsed_blob_id=blob_id,
            language=language,
            page_count=page_count,
            warnings=tuple(map(_warning, warnings[:_WARNINGS_KEPT])),
        )

    def chunked(self, chunk_count: int, now: datetime) -> Self:
        """With so many chunks staged."""
        return replace(self.passed(IngestionState.CHUNKED, now), chunk_count=chunk_count)

    def indexed(self, now: datetime) -> Self:
        """At its good end; what was parsed is not needed any more."""
        after = self.passed(IngestionState.INDEXED, now)
        return replace(
            after,
            state=IngestionState.COMPLETED_WITH_WARNINGS if self.warnings else IngestionState.INDEXED,
            reason=IngestionReason.UNSPECIFIED,
            message="",
            attempts=_closed(after, IngestionReason.UNSPECIFIED, "", now),
            parsed_blob_id=None,
            end_time=after.update_time,
        )

    def failed(self, failure: Failure, now: datetime, delay: timedelta) -> Self:
        """After an attempt that failed: to be tried again after the delay, or dead.

        One that met an outage uses up no try; an outage that outlasts PATIENCE is the end all the same.
        """
        tries, outages, since = self.tries + 1, 0, None
        if failure.outage:
            tries, outages, since = self.tries, self.outages + 1, self.outage_time or now
        outlasted = since is not None and now - since >= PATIENCE
        dead = not failure.retryable or tries >= MOST_TRIES or outlasted
        after = self.progressed(0, 0, now)
        return replace(
            after,
            tries=tries,
            outages=outages,
            outage_time=since,
            state=IngestionState.DEAD if dead else IngestionState.FAILED_RETRYING,
            stage=failure.back_to or self.stage,
            reason=failure.reason,
            message=failure.message,
            attempts=_closed(self, failure.reason, failure.message, now),
            retry_time=None if dead else now + max(delay, failure.retry_after),
            end_time=after.update_time if dead else None,
        )

    def cancelled(self, now: datetime) -> Self:
        """Wanted no more; one that has ended stays as it is."""
        if self.state.ended:
            return self
        after = self.progressed(0, 0, now)
        return replace(
            after,
            state=IngestionState.CANCELLED,
            attempts=_closed(self, IngestionReason.UNSPECIFIED, _CANCELLED, now),
            retry_time=None,
            end_time=after.update_time,
        )

    @property
    def can_begin_again(self) -> bool:
        """Whether it has ended, and not well."""
        return self.state in (IngestionState.DEAD, IngestionState.CANCELLED)

    def begun_again(self, now: datetime) -> Self:
        """Under way once more, behind the stage that it had passed, with all of its attempts before it."""
        return replace(
            self,
            run=self.run + 1,
            state=self.stage,
            reason=IngestionReason.UNSPECIFIED,
            message="",
            tries=0,
            outages=0,
            outage_time=None,
            update_time=_moment_after(self, now),
            end_time=None,
        )


def _warning(words: str) -> str:
    """On one line, and short."""
    return "".join(character if character.isprintable() else " " for character in words[:_WARNING_CHARACTERS])


def _moment_after(before: Ingestion, now: datetime) -> datetime:
    return max(now, before.update_time + _TICK)


def _closed(before: Ingestion, reason: IngestionReason, message: str, now: datetime) -> tuple[IngestionAttempt, ...]:
    """The attempts, with the one under way ended."""
    at_it = before.under_way
    if at_it is None:
        return before.attempts
    end_time = max(now, at_it.start_time)
    ended = replace(at_it, stage=before.stage, reason=reason, message=message, end_time=end_time)
    return (*before.attempts[:-1], ended)
