"""What a worker sees of parsers that crash, hang, hoard, lie, or try to get out."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from services.documents.model import media_types
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import MIB, Limits
from services.documents.parsing.pool import ParserPool
from tests.documents.parsing import files
from tests.support.waiting import descendants, until, until_gone

HOSTILE = Path(__file__).with_name("hostile.py")
ROOT = Path(__file__).parents[3]
LIMITS = Limits(seconds=30, memory_bytes=128 * MIB)
ENDLESS = Limits(seconds=3600)
GOOD = {
    media_types.PDF: files.pdf([[(10, "text")]]),
    media_types.DOCX: files.docx(files.paragraph("text")),
    media_types.PPTX: files.pptx([("title", "body", "text")]),
    media_types.XLSX: files.xlsx({"Sheet": [["text"]]}),
    media_types.HTML: b"<p>text</p>",
    media_types.EML: b"Subject: title\n\ntext",
    media_types.TEXT: "text".encode("utf-16"),
}


class Cancelled(Exception):
    """The caller wants the result no more."""


@pytest.fixture(scope="module")
def hostile() -> Iterator[ParserPool]:
    """Parsers that mean harm."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("PLINTH_MASTER_KEY", "of-all-things")
        environment.setenv("DATABASE_URL", "postgresql://of-all-things")
        pool = ParserPool(idle=1, command=(sys.executable, "-P", str(HOSTILE)))
        yield pool
        pool.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Any file."""
    path = tmp_path / "file"
    path.write_bytes(b"anything")
    return path


def failure(pool: ParserPool, file: Path, deed: str, limits: Limits = LIMITS) -> ParseFailed:
    """How a deed ends."""
    with pytest.raises(ParseFailed) as failed:
        pool.parse(file, f"x-test/{deed}", limits)
    return failed.value


class TestFailure:
    @pytest.mark.parametrize("deed", ["spin", "sleep", "flood"])
    def test_a_parser_that_never_ends_is_ended(self, hostile: ParserPool, file: Path, deed: str) -> None:
        failed = failure(hostile, file, deed, Limits(seconds=0.3))
        assert (failed.reason, failed.retryable) == (Reason.TIMEOUT, True)

    @pytest.mark.parametrize(
        "deed", ["crash", "shout", "linger", "boast", "lie", "overstate", "misplace", "babble", "mutter"]
    )
    def test_a_parser_that_crashes_or_talks_nonsense_may_be_tried_again(
        self, hostile: ParserPool, file: Path, deed: str
    ) -> None:
        failed = failure(hostile, file, deed)
        assert (failed.reason, failed.retryable) == (Reason.PARSER_CRASHED, True)

    @pytest.mark.parametrize("deed", ["hoard", "hoard_and_crash"])
    def test_a_parser_that_takes_too_much_memory_has_met_too_large_a_file(
        self, hostile: ParserPool, file: Path, deed: str
    ) -> None:
        failed = failure(hostile, file, deed)
        assert (failed.reason, failed.retryable) == (Reason.TOO_LARGE, False)

    def test_an_error_tells_where_it_was_and_nothing_of_the_document(self, hostile: ParserPool, file: Path) -> None:
        failed = failure(hostile, file, "fail")
        assert failed.reason is Reason.PARSER_CRASHED
        assert "LookupError at hostile.py:" in failed.message
        assert "swordfish" not in failed.message

    def test_the_words_of_a_parser_are_fit_for_a_log(self, hostile: ParserPool, file: Path) -> None:
        message = failure(hostile, file, "scold").message
        assert message.startswith("one two [31m x")
        assert len(message) <= 300

    def test_a_type_without_a_parser_is_unsupported(self, hostile: ParserPool, file: Path) -> None:
        assert failure(hostile, file, "unheard-of").reason is Reason.UNSUPPORTED

    def test_a_file_beyond_the_limit_is_not_even_opened(self, hostile: ParserPool, file: Path) -> None:
        assert failure(hostile, file, "spin", Limits(file_bytes=3)).reason is Reason.TOO_LARGE

    def test_parsers_that_do_not_start_are_a_failure_that_may_pass(self, file: Path) -> None:
        pool = ParserPool(command=(sys.executable, "-c", "raise SystemExit(1)"))
        failed = failure(pool, file, "any")
        assert (failed.reason, failed.retryable) == (Reason.PARSER_CRASHED, True)


class TestWarmth:
    def test_after_any_failure_the_next_document_finds_warm_parsers(self, hostile: ParserPool, file: Path) -> None:
        hostile.parse(file, "x-test/escape", LIMITS)
        (nursery,) = hostile._idle
        for deed in ("crash", "hoard", "shout", "lie"):
            failure(hostile, file, deed)
        failure(hostile, file, "sleep", Limits(seconds=0.2))
        hostile.parse(file, "x-test/escape", LIMITS)
        assert hostile._idle == [nursery]
        assert descendants(nursery._process.pid) == []

    def test_a_nursery_that_was_killed_is_replaced_before_it_fails_a_document(
        self, hostile: ParserPool, file: Path
    ) -> None:
        hostile.parse(file, "x-test/escape", LIMITS)
        hostile._idle[0]._process.kill()
        hostile._idle[0]._process.wait()
        hostile.parse(file, "x-test/escape", LIMITS)

    def test_a_nursery_that_is_killed_at_work_is_a_failure_that_may_pass(self, hostile: ParserPool, file: Path) -> None:
        hostile.parse(file, "x-test/escape", LIMITS)
        process = hostile._idle[0]._process

        def check() -> None:
            if descendants(process.pid):
                process.kill()

        with pytest.raises(ParseFailed) as failed:
            hostile.parse(file, "x-test/spin", ENDLESS, check=check)
        assert failed.value.retryable

    def test_threads_have_a_parser_each(self, hostile: ParserPool, file: Path) -> None:
        both = threading.Barrier(2)
        met: list[bool] = []

        def meet() -> None:
            def check() -> None:
                if not met:
                    both.wait(30)
                    met.append(True)

            hostile.parse(file, "x-test/escape", LIMITS, check=check)

        threads = [threading.Thread(target=meet) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert met


class TestCancellation:
    def test_what_the_check_raises_passes_through_and_the_child_is_gone(self, hostile: ParserPool, file: Path) -> None:
        hostile.parse(file, "x-test/escape", LIMITS)
        pid = hostile._idle[0]._process.pid

        def check() -> None:
            if descendants(pid):
                raise Cancelled

        with pytest.raises(Cancelled):
            hostile.parse(file, "x-test/spin", ENDLESS, check=check)
        assert descendants(pid) == []

    def test_what_the_progress_raises_passes_through_as_well(self, hostile: ParserPool, file: Path) -> None:
        def progress(pages: int) -> None:
            raise Cancelled

        with pytest.raises(Cancelled):
            hostile.parse(file, "x-test/flood", ENDLESS, progress=progress)


class TestSandbox:
    @pytest.mark.parametrize("mode", ["seccomp", "audit"])
    def test_there_is_no_way_out(self, file: Path, mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PLINTH_MASTER_KEY", "of-all-things")
        pool = ParserPool(command=(sys.executable, "-P", str(HOSTILE), mode))
        document = pool.parse(file, "x-test/escape", LIMITS)
        # And parsers that mean no harm do not notice.
        for media_type, data in GOOD.items():
            file.write_bytes(data)
            assert pool.parse(file, media_type, LIMITS).blocks[-1].text == "text"
        pool.close()
        (told,) = (block.text for block in document.blocks)
        assert told.startswith("environment: ")
        assert "PLINTH" not in told

    def test_a_parser_whose_worker_does_not_end_it_ends_when_its_time_is_up(
        self, hostile: ParserPool, file: Path
    ) -> None:
        hostile.parse(file, "x-test/escape", LIMITS)
        pid = hostile._idle[0]._process.pid
        met: list[int] = []

        def hang() -> None:
            met.extend(descendants(pid))
            until_gone(met)

        with pytest.raises(ParseFailed) as failed:
            hostile.parse(file, "x-test/spin", Limits(seconds=0.1), check=hang)
        assert failed.value.reason is Reason.TIMEOUT
        assert met

    def test_nothing_is_left_when_a_worker_is_killed(self, file: Path) -> None:
        program = (
            "import pathlib, sys\n"
            "from services.documents.parsing.limits import Limits\n"
            "from services.documents.parsing.pool import ParserPool\n"
            f"pool = ParserPool(command=(sys.executable, '-P', {str(HOSTILE)!r}))\n"
            f"pool.parse(pathlib.Path({str(file)!r}), 'x-test/spin', Limits(seconds=3600))\n"
        )
        worker = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT)
        until(lambda: len(descendants(worker.pid)) == 2, "a nursery and its child")
        left = descendants(worker.pid)
        worker.kill()
        worker.wait()
        until_gone(left)
