"""What a child does with its one document."""

import os
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import orjson

from services.documents.parsing import sandbox
from services.documents.parsing.failures import ParseFailed, Reason
from services.documents.parsing.formats.registry import Format, read
from services.documents.parsing.wire import Kind, Order, write_frame


def run(formats: Sequence[Format], order: Order, document: int, result: int, *, parent: int) -> NoReturn:
    """Parse the open file `document` and write frames to `result`; then end, whatever happens."""
    code = 1
    try:
        sandbox.enter(order.limits, keep=(document, result), parent=parent)
        _parse(formats, order, document, result)
        code = 0
    finally:
        # Nothing of the nursery's, as its exit handlers, runs a second time in here.
        os._exit(code)


def _parse(formats: Sequence[Format], order: Order, document: int, result: int) -> None:
    def progress(pages: int) -> None:
        write_frame(result, Kind.PROGRESS, b"%d" % pages)

    try:
        with open(document, "rb") as source:
            parsed = read(formats, source, order.media_type, order.limits, progress)
        frame = Kind.RESULT, parsed.to_json()
    except ParseFailed as failed:
        frame = Kind.FAILURE, _failure(failed.reason, failed.message)
    except MemoryError:
        frame = Kind.FAILURE, _failure(Reason.TOO_LARGE, "The document takes more memory to read than it may.")
    except Exception as error:  # noqa: BLE001  # a parser may raise anything, and this process ends here
        frame = Kind.FAILURE, _failure(Reason.PARSER_CRASHED, f"The parser failed: {_where(error)}.")
    write_frame(result, *frame)


def _failure(reason: Reason, message: str) -> bytes:
    return orjson.dumps([reason, message])


def _where(error: Exception) -> str:
    """The kind of an error and the line that raised it: its words may quote the document."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}"
