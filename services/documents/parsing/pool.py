"""The worker's side of parsing: hand a file to a nursery, wait within limits, judge what comes back."""

import contextlib
import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson

from services.documents.model.parsed import NotParsed, Parsed
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.limits import Limits
from services.documents.parsing.wire import KILL, MESSAGE_BYTES, READY, Ending, FrameReader, Garbled, Kind, Order
from services.kernel.child_environment import child_environment

NURSERY = (sys.executable, "-P", "-m", "services.documents.parsing.nursery")
# How often a caller is asked whether it still wants the result.
_TICK_SECONDS = 0.1
_START_SECONDS = 60.0
_KILL_SECONDS = 10.0
_CHUNK_BYTES = 1024 * 1024
_MESSAGE_CHARACTERS = 300
# As BCP 47 writes them, with a script or a region at most.
_LANGUAGE = re.compile(r"|[a-z]{2,3}(-[A-Za-z]{2,4})?")


def _nothing(*_: int) -> None:
    """The check, and the progress, of a caller that has none."""


class ParserPool:
    """Parses files in processes apart; used by any number of threads at once, one nursery each.

    At most `idle` nurseries stay when they have nothing to do. They start when they are needed, and end with us.
    """

    def __init__(self, *, idle: int = 2, command: Sequence[str] = NURSERY) -> None:
        self._command = command
        self._most_idle = idle
        self._idle: list[_Nursery] = []
        self._lock = threading.Lock()

    def parse(
        self,
        path: Path,
        media_type: str,
        limits: Limits | None = None,
        *,
        check: Callable[[], None] = _nothing,
        progress: Callable[[int], None] = _nothing,
    ) -> Parsed:
        """The document at `path`, as `media_type`.

        `check` is called ten times a second; what it raises kills the child at once and passes through. `progress`
        gets the pages done so far. Raises ParseFailed, or OSError where the file cannot be opened.
        """
        limits = limits or Limits()
        if path.stat().st_size > limits.file_bytes:
            raise ParseFailed(Reason.TOO_LARGE, f"The file is larger than {limits.file_bytes:,} bytes.")
        nursery = self._take()
        try:
            nursery.wait_until_ready(check)
            return nursery.parse(path, Order(media_type, limits), check, progress)
        finally:
            self._give_back(nursery)

    def close(self) -> None:
        """End the idle nurseries. Those at work end when they are done."""
        with self._lock:
            idle, self._idle, self._most_idle = self._idle, [], 0
        for nursery in idle:
            nursery.close()

    def _take(self) -> "_Nursery":
        while True:
            with self._lock:
                nursery = self._idle.pop() if self._idle else None
            if nursery is None:
                return _Nursery(self._command)
            if nursery.alive:
                return nursery
            nursery.close()

    def _give_back(self, nursery: "_Nursery") -> None:
        with self._lock:
            keep = nursery.usable and len(self._idle) < self._most_idle
            if keep:
                self._idle.append(nursery)
        if not keep:
            nursery.close()


class _Nursery:
    """One nursery process, and the one child that it has at a time."""

    def __init__(self, command: Sequence[str]) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # Its standard error is ours until it reads documents; a child has none.
            self._process = subprocess.Popen(
                command,
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env=child_environment(),
                process_group=0,
            )
        self._ready = False
        self.usable = True

    @property
    def alive(self) -> bool:
        """Whether it has not been ended by anybody."""
        return self._process.poll() is None

    def wait_until_ready(self, check: Callable[[], None]) -> None:
        """Return once its parsers are loaded. Raises ParseFailed when they never are, and what `check` raises."""
        deadline = time.monotonic() + _START_SECONDS
        while not self._ready:
            check()
            if _readable(self._control.fileno(), _TICK_SECONDS):
                self._ready = self._receive() == READY
                if self._ready:
                    return
            if not self.usable or time.monotonic() > deadline:
                self.usable = False
                raise ParseFailed(Reason.PARSER_CRASHED, "The parser could not be started.")

    def parse(self, path: Path, order: Order, check: Callable[[], None], progress: Callable[[int], None]) -> Parsed:
        """Have a file parsed in a child. Afterwards there is no child, whatever happened."""
        with path.open("rb") as document:
            results, theirs = os.pipe()
            try:
                socket.send_fds(self._control, [order.encode()], [document.fileno(), theirs])
            except OSError as error:
                os.close(results)
                self.usable = False
                raise ParseFailed(Reason.PARSER_CRASHED, "The parser is gone.") from error
            finally:
                # The end of the child's output is told by the last of its writers, which are not to be us.
                os.close(theirs)
        outcome = _Outcome(order, progress)
        try:
            outcome.collect(results, check)
        finally:
            os.close(results)
            # One that has written all, and yet does not end, is ended like one that nobody waits for any more.
            ending = self._end_child()
        return outcome.judge(ending)

    def close(self) -> None:
        """End it, and its child with it."""
        self._control.close()
        self._process.kill()
        self._process.wait()

    def _end_child(self) -> Ending | None:
        """How the child ended, now if not before; None where the nursery does not say, which is then used no more."""
        with contextlib.suppress(OSError):
            self._control.send(KILL)
        if _readable(self._control.fileno(), _KILL_SECONDS):
            message = self._receive()
            if message:
                return Ending.decode(message)
        self.usable = False
        return None

    def _receive(self) -> bytes:
        try:
            message = self._control.recv(MESSAGE_BYTES)
        except OSError:
            message = b""
        self.usable = bool(message)
        return message


class _Outcome:
    """What a child says, and what to think of it."""

    def __init__(self, order: Order, progress: Callable[[int], None]) -> None:
        self._order = order
        self._progress = progress
        self._answer: tuple[Kind, bytes] | None = None

    def collect(self, results: int, check: Callable[[], None]) -> None:
        """Read the child's frames until it has written all. Raises ParseFailed, or what the callbacks raise."""
        limits = self._order.limits
        deadline = time.monotonic() + limits.seconds
        reader = FrameReader(limits.result_bytes)
        while True:
            check()
            left = deadline - time.monotonic()
            if left <= 0:
                raise _timeout(self._order)
            if not _readable(results, min(left, _TICK_SECONDS)):
                continue
            data = os.read(results, _CHUNK_BYTES)
            if not data:
                return
            pages = None
            try:
                for kind, payload in reader.feed(data):
                    if kind is Kind.PROGRESS:
                        pages = self._pages(payload)
                    else:
                        self._answer = kind, payload
            except Garbled as error:
                raise _nonsense() from error
            if pages is not None:
                self._progress(pages)

    def judge(self, ending: Ending | None) -> Parsed:
        """The result. Raises ParseFailed where there is none."""
        if self._answer is None:
            raise self._died(ending)
        kind, payload = self._answer
        try:
            if kind is Kind.RESULT:
                return _within(self._order.limits, Parsed.from_json(payload))
            reason, message = orjson.loads(payload)
            failed = ParseFailed(Reason(reason), _printable(str(message)))
            if self._outgrown(ending) and failed.reason in (Reason.CORRUPT, Reason.PARSER_CRASHED):
                failed = _too_large()
        except (NotParsed, ValueError, TypeError) as error:
            raise _nonsense() from error
        raise failed

    def _pages(self, payload: bytes) -> int:
        pages = int(payload) if payload.isdigit() and len(payload) < 10 else -1
        if not 0 <= pages <= self._order.limits.pages:
            raise Garbled
        return pages

    def _outgrown(self, ending: Ending | None) -> bool:
        """Whether memory is what was missing: parsers that are refused it fail in as many ways as there are parsers."""
        return ending is not None and ending.grown_bytes > self._order.limits.memory_bytes // 2

    def _died(self, ending: Ending | None) -> ParseFailed:
        if ending is None:
            return ParseFailed(Reason.PARSER_CRASHED, "The parser is gone.")
        if ending.code == -signal.SIGXCPU:
            return _timeout(self._order)
        if self._outgrown(ending):
            return _too_large()
        if ending.code >= 0:
            return ParseFailed(Reason.PARSER_CRASHED, f"The parser ended with status {ending.code}.")
        return ParseFailed(Reason.PARSER_CRASHED, f"The parser was ended by signal {-ending.code}.")


def _within(limits: Limits, parsed: Parsed) -> Parsed:
    """A result that no honest parser goes beyond. Raises NotParsed."""
    if max(parsed.page_count, *(block.page or 0 for block in parsed.blocks), 0) > limits.pages:
        raise NotParsed("there are more pages than there may be")
    if not all(
        _LANGUAGE.fullmatch(language) for language in {parsed.language, *(one.language for one in parsed.blocks)}
    ):
        raise NotParsed("this is no language")
    return parsed


def _too_large() -> ParseFailed:
    return ParseFailed(Reason.TOO_LARGE, "The document takes more memory to read than it may.")


def _timeout(order: Order) -> ParseFailed:
    return ParseFailed(Reason.TIMEOUT, f"The document was not read within {order.limits.seconds:g} seconds.")


def _nonsense() -> ParseFailed:
    return ParseFailed(Reason.PARSER_CRASHED, "The parser answered nonsense.")


def _printable(message: str) -> str:
    """A message of a child's, fit for a log."""
    return re.sub(r"[^\x20-\x7e]+", " ", message)[:_MESSAGE_CHARACTERS]


def _readable(descriptor: int, seconds: float) -> bool:
    """Whether there is something to read within this time; select(2) would refuse high descriptors."""
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
