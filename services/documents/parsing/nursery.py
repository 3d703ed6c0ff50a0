"""A process with every parser loaded, which forks a child for each document: `python -m …parsing.nursery`.

Standard input is the socket to the worker; its end is ours. Nothing of a document is ever read in here, so a nursery
cannot be harmed by one, and lasts.
"""

import gc
import importlib
import os
import select
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from services.documents.parsing import child
from services.documents.parsing.formats import FORMATS
from services.documents.parsing.formats.registry import Format
from services.documents.parsing.wire import KILL, MESSAGE_BYTES, READY, Ending, Order

# What libraries load no earlier than they need it: a child cannot any more.
_LATE = ("email.feedparser", "email.generator", "email.parser", "heapq", "linecache", "tokenize", "unicodedata")


def serve(formats: Sequence[Format]) -> None:
    """Have documents parsed, one at a time, until the worker hangs up."""
    control = socket.socket(fileno=0)
    for module in _LATE:
        importlib.import_module(module)
    # What is loaded by now stays shared with the children: no collection of theirs shall touch it.
    gc.collect()
    gc.freeze()
    control.send(READY)
    while True:
        message, files, _, _ = socket.recv_fds(control, MESSAGE_BYTES, 2)
        if not message:
            return
        # An order to kill may cross the news that the child has ended.
        if message != KILL:
            document, result = files
            control.send(_raise(control, formats, Order.decode(message), document, result).encode())


def _raise(control: socket.socket, formats: Sequence[Format], order: Order, document: int, result: int) -> Ending:
    """Fork a child for this document and stay until it has ended."""
    nursery, resident = os.getpid(), _resident_kib()
    pid = os.fork()
    if pid == 0:
        child.run(formats, order, document, result, parent=nursery)
    os.close(document)
    os.close(result)
    ended = os.pidfd_open(pid)
    try:
        ready, _, _ = select.select([control.fileno(), ended], [], [])
        # Whatever comes now is KILL, or the end of the worker.
        told = control.fileno() in ready
        if told:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
    finally:
        os.close(ended)
    if told and not control.recv(MESSAGE_BYTES):
        raise SystemExit
    return Ending(os.waitstatus_to_exitcode(status), max(usage.ru_maxrss - resident, 0) * 1024)


def _resident_kib() -> int:
    """How much memory a child has from the start."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    # Of a worker that is gone the kernel says so in more than one way.
    with suppress(ConnectionError):
        serve(FORMATS)
