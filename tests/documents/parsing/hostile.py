"""A nursery with parsers that mean harm: `python hostile.py`, or `python hostile.py audit`, which has no seccomp."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from services.documents.model.parsed import BlockKind, Draft, Parsed
from services.documents.parsing import sandbox
from services.documents.parsing.formats import FORMATS
from services.documents.parsing.formats.registry import Format
from services.documents.parsing.formats.transcript import Transcript
from services.documents.parsing.nursery import serve
from services.documents.parsing.seccomp import SeccompRefused
from services.documents.parsing.wire import Kind, write_frame


def main() -> None:
    """Serve as a nursery."""
    if "audit" in sys.argv:
        vars(sandbox)["confine"] = no_seccomp
    serve([*FORMATS, *(Format(f"x-test/{read.__name__}", read) for read in DEEDS)])


def no_seccomp() -> None:
    """A kernel that has none."""
    raise SeccompRefused("not here")


def spin(source: BinaryIO, out: Transcript) -> None:
    """Never ends, and works all the time."""
    while True:
        pass


def sleep(source: BinaryIO, out: Transcript) -> None:
    """Never ends, and does nothing."""
    while True:
        time.sleep(3600)


def crash(source: BinaryIO, out: Transcript) -> None:
    """Reads where there is no memory."""
    ctypes.string_at(8)


def fail(source: BinaryIO, out: Transcript) -> None:
    """Raises what quotes the document."""
    raise LookupError("the password is swordfish")


def hoard(source: BinaryIO, out: Transcript) -> None:
    """Takes all memory there is."""
    hoarded = []
    while True:
        hoarded.append(bytearray(1024 * 1024))


def hoard_and_crash(source: BinaryIO, out: Transcript) -> None:
    """Takes memory, and dies of having no more, as native code does."""
    hoarded = []
    try:
        while True:
            hoarded.append(bytearray(1024 * 1024))
    except MemoryError:
        os.abort()


def shout(source: BinaryIO, out: Transcript) -> None:
    """Writes nonsense into all that is open."""
    for descriptor in range(16):
        try:
            os.write(descriptor, b"\xffnonsense" * 1000)
        except OSError:
            continue


def flood(source: BinaryIO, out: Transcript) -> None:
    """Says for ever that it gets on."""
    while True:
        write_frame(pipe(), Kind.PROGRESS, b"1")


def linger(source: BinaryIO, out: Transcript) -> None:
    """Closes the pipe, and stays."""
    os.close(pipe())
    while True:
        pass


def boast(source: BinaryIO, out: Transcript) -> None:
    """Claims more pages than a document may have."""
    write_frame(pipe(), Kind.PROGRESS, b"99999999")


def lie(source: BinaryIO, out: Transcript) -> None:
    """Answers with what is no document."""
    write_frame(pipe(), Kind.RESULT, b'{"format": 2, "language": ["?"]}')
    os._exit(0)


def overstate(source: BinaryIO, out: Transcript) -> None:
    """Answers with a document of more pages than there are numbers for in a database."""
    write_frame(pipe(), Kind.RESULT, Parsed.of([], page_count=10**12).to_json())
    os._exit(0)


def misplace(source: BinaryIO, out: Transcript) -> None:
    """Answers with text on such a page."""
    blocks = [Draft(BlockKind.PARAGRAPH, "text", page=10**12)]
    write_frame(pipe(), Kind.RESULT, Parsed.of(blocks).to_json())
    os._exit(0)


def babble(source: BinaryIO, out: Transcript) -> None:
    """Answers in a language that nobody speaks."""
    write_frame(pipe(), Kind.RESULT, Parsed.of([], language="en\0" * 100).to_json())
    os._exit(0)


def mutter(source: BinaryIO, out: Transcript) -> None:
    """Answers with words in such a language."""
    write_frame(pipe(), Kind.RESULT, Parsed.of([Draft(BlockKind.PARAGRAPH, "text", language="?")]).to_json())
    os._exit(0)


def scold(source: BinaryIO, out: Transcript) -> None:
    """Fails with words that are not for a log."""
    write_frame(pipe(), Kind.FAILURE, b'["CORRUPT", "one\\ntwo\\u001b[31m ' + b"x" * 5000 + b'"]')
    os._exit(0)


def escape(source: BinaryIO, out: Transcript) -> None:
    """Tries all ways out, and tells which were open."""
    for way in WAYS_OUT:
        try:
            way()
        except OSError:
            continue
        out.item(way.__name__)
    out.paragraph(f"environment: {' '.join(sorted(os.environ))}")


def pipe() -> int:
    """The descriptor of the result: the only one that can be written to, but for the standard streams."""
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, b"")
        except OSError:
            continue
        return descriptor
    raise AssertionError("no pipe")


def read_a_file() -> None:
    """Any file, as that of another document."""
    Path(__file__).read_bytes()


def read_the_parents_environment() -> None:
    """Where a worker's secrets are."""
    Path(f"/proc/{os.getppid()}/environ").read_bytes()


def list_a_folder() -> None:
    """What there is."""
    os.listdir("/")


def write_a_file() -> None:
    """A new file."""
    Path(f"/tmp/plinth-escape-{os.getpid()}").touch()


def connect() -> None:
    """Any socket."""
    socket.socket()


def fork() -> None:
    """A process of its own."""
    if os.fork() == 0:
        os._exit(0)


def execute() -> None:
    """Another program."""
    subprocess.Popen([sys.executable, "-V"])


def signal_the_parent() -> None:
    """End the nursery."""
    os.kill(os.getppid(), signal.SIGCONT)


WAYS_OUT: tuple[Callable[[], None], ...] = (
    read_a_file,
    read_the_parents_environment,
    list_a_folder,
    write_a_file,
    connect,
    fork,
    execute,
    signal_the_parent,
)
DEEDS = (
    spin,
    sleep,
    crash,
    fail,
    hoard,
    hoard_and_crash,
    shout,
    flood,
    linger,
    boast,
    lie,
    overstate,
    misplace,
    babble,
    mutter,
    scold,
    escape,
)

if __name__ == "__main__":
    main()
