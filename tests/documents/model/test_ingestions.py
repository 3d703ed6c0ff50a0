"""Where ingestions may go: whatever happens in whatever order."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from services.documents.model.ingestions import (
    MOST_TRIES,
    PATIENCE,
    Failure,
    Ingestion,
    IngestionReason,
    IngestionState,
)

STAGES = list(IngestionState)[:6]
NOW = datetime(2026, 3, 1, tzinfo=UTC)
CRASH = Failure(IngestionReason.PARSER_CRASHED, "It crashed.")
DAMAGE = Failure(IngestionReason.CORRUPT, "It is damaged.", retryable=False)
OUTAGE = Failure(IngestionReason.DEPENDENCY_UNAVAILABLE, "A part is away.", outage=True)
LOSS = Failure(IngestionReason.INTERNAL, "Passages are missing.", back_to=IngestionState.PARSED)
SECOND = timedelta(seconds=1)


def received() -> Ingestion:
    one, two, three = UUID(int=1), UUID(int=2), UUID(int=3)
    return Ingestion.received(one, two, 1, NOW, ingestion_id=three)


class Story(RuleBasedStateMachine):
    """Attempts that begin, end and are broken off; people who cancel and begin again; a clock that may stand still."""

    def __init__(self) -> None:
        super().__init__()
        self.now = NOW
        self.fence = 0
        self.one = received()

    def move(self, after: Ingestion) -> None:
        assert after is self.one or after.update_time > self.one.update_time
        assert after.run >= self.one.run
        self.one = after

    @property
    def held(self) -> bool:
        return self.one.held_by(self.fence)

    @rule(seconds=st.integers(0, 5) | st.just(PATIENCE // SECOND))
    def time_passes(self, seconds: int) -> None:
        self.now += seconds * SECOND

    @rule()
    def an_attempt_begins(self) -> None:
        if self.one.open_to(self.one.run, self.fence + 1):
            tries, broken_off = self.one.tries, self.one.under_way is not None
            self.fence += 1
            self.move(self.one.begun(self.fence, self.now))
            # One that never ended is the last of its tries.
            assert self.one.held_by(self.fence) == (not broken_off or tries < MOST_TRIES - 1)
            assert not self.one.held_by(self.fence - 1)

    @precondition(lambda self: self.held and self.one.stage is not IngestionState.EMBEDDED)
    @rule()
    def a_stage_is_passed(self) -> None:
        following = STAGES[STAGES.index(self.one.stage) + 1]
        if following is IngestionState.PARSED:
            self.move(self.one.parsed(UUID(int=4), self.now, warnings=["an image"]))
        else:
            self.move(self.one.passed(following, self.now))
        assert self.one.state is self.one.stage is following

    @precondition(lambda self: self.held)
    @rule()
    def it_tells_how_far_it_is(self) -> None:
        self.move(self.one.progressed(3, 7, self.now))

    @precondition(lambda self: self.held and self.one.stage is IngestionState.EMBEDDED)
    @rule()
    def it_is_indexed(self) -> None:
        self.move(self.one.indexed(self.now))
        assert self.one.state is IngestionState.COMPLETED_WITH_WARNINGS
        assert self.one.parsed_blob_id is None

    @precondition(lambda self: self.held)
    @rule(failure=st.sampled_from([CRASH, DAMAGE, LOSS]))
    def the_attempt_fails(self, failure: Failure) -> None:
        if failure.back_to is None or self.one.stage is IngestionState.CHUNKED:
            tries = self.one.tries
            self.move(self.one.failed(failure, self.now, SECOND))
            assert self.one.state.ended == (tries == MOST_TRIES - 1 or not failure.retryable)
            assert (self.one.reason, self.one.message) == (failure.reason, failure.message)

    @precondition(lambda self: self.held)
    @rule()
    def a_part_is_away(self) -> None:
        tries, since = self.one.tries, self.one.outage_time or self.now
        self.move(self.one.failed(OUTAGE, self.now, SECOND))
        assert self.one.tries == tries
        assert self.one.state.ended == (self.now - since >= PATIENCE)
        assert self.one.reason is OUTAGE.reason

    @precondition(lambda self: self.held)
    @rule()
    def the_worker_gives_it_back(self) -> None:
        tries = self.one.tries
        self.move(self.one.let_go(self.now))
        assert self.one.tries == tries

    @rule()
    def somebody_finds_it_idle(self) -> None:
        if not self.one.state.ended:
            self.move(self.one.broken_off(self.now))

    @rule()
    def somebody_cancels_it(self) -> None:
        self.move(self.one.cancelled(self.now))
        assert self.one.state.ended

    @precondition(lambda self: self.one.can_begin_again)
    @rule()
    def somebody_begins_it_again(self) -> None:
        stage, run = self.one.stage, self.one.run
        self.move(self.one.begun_again(self.now))
        assert self.one.state is self.one.stage is stage
        assert self.one.tries == 0
        assert not self.one.open_to(run, self.fence + 1)

    @invariant()
    def it_makes_sense(self) -> None:
        one = self.one
        assert one.state.ended == (one.end_time is not None)
        assert (one.state is IngestionState.FAILED_RETRYING) == (one.retry_time is not None)
        assert one.under_way is None or not one.state.ended
        assert one.tries <= MOST_TRIES
        assert (one.outages > 0) == (one.outage_time is not None)
        assert len(one.attempts) <= 20
        assert all(attempt.end_time is not None for attempt in one.attempts[:-1])
        numbers = [attempt.number for attempt in one.attempts]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAnyStory = Story.TestCase


def test_the_next_attempt_waits_as_long_as_the_provider_asks() -> None:
    failure = Failure(IngestionReason.PROVIDER_UNAVAILABLE, "Away.", retry_after=10 * SECOND)
    failed = received().begun(1, NOW).failed(failure, NOW, SECOND)
    assert failed.retry_time == NOW + 10 * SECOND
    assert failed.begun(2, NOW).retry_time is None


def test_an_outage_of_a_night_is_waited_for_and_one_of_a_day_is_not() -> None:
    one, now = received(), NOW
    for fence in range(1, 100):
        now = NOW + fence * timedelta(minutes=10)
        one = one.begun(fence, now).failed(OUTAGE, now, SECOND)
    assert (one.state, one.tries, one.outages) == (IngestionState.FAILED_RETRYING, 0, 99)
    # What was away is there again for one stage; from then on it counts anew.
    there = one.begun(100, now).passed(IngestionState.SCANNED, now)
    assert there.failed(OUTAGE, NOW + PATIENCE + timedelta(hours=1), SECOND).state is IngestionState.FAILED_RETRYING
    dead = one.begun(100, now).failed(OUTAGE, NOW + PATIENCE + timedelta(hours=1), SECOND)
    assert (dead.state, dead.reason) == (IngestionState.DEAD, IngestionReason.DEPENDENCY_UNAVAILABLE)


def test_keeps_no_more_of_a_strangers_words_than_people_can_read() -> None:
    parsed = received().begun(1, NOW).parsed(UUID(int=4), NOW, warnings=["line\n\x00" + "x" * 10_000] * 1_000)
    assert len(parsed.warnings) == 100
    assert all(len(words) == 300 and words.startswith("line  x") for words in parsed.warnings)
