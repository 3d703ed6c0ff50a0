"""Signals that stop a supervisor, without the traps of doing things inside a handler."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupts:
    """While entered, SIGINT, SIGTERM and SIGHUP set `stop`, a second one sets `hurry`; a child's end wakes `wait`.

    While `raising`, the first raises KeyboardInterrupt instead of being waited for. Main thread only.
    """

    def __init__(self) -> None:
        self.stop = False
        self.hurry = False
        self.raising = False

    def __enter__(self) -> Self:
        self._reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._former_descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        self._former = {number: signal.signal(number, self._on_stop) for number in STOP_SIGNALS}
        # Without a handler in Python a signal does not write to the descriptor.
        self._former[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, _on_child)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._former_descriptor)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> None:
        """Return when a signal has come or the time has passed."""
        if select.select([self._reader], [], [], seconds)[0]:
            os.read(self._reader, 4096)

    def _on_stop(self, number: int, frame: FrameType | None) -> None:
        self.hurry = self.stop
        self.stop = True
        if self.raising:
            self.raising = False
            raise KeyboardInterrupt


def _on_child(number: int, frame: FrameType | None) -> None:
    """Nothing: the wake-up is all."""
