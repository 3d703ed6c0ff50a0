"""A real browser: Debian's Chromium without a window, driven from the test."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.support.programs import ProgramMissing, require

PROGRAM = "chromium"
PACKAGE = "chromium"


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Start it; each test opens a context of its own. Raises ProgramMissing where there is none."""
    # Chromium has its sandbox made by an unprivileged user, and refuses to start as root with it.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=require(PROGRAM, PACKAGE), args=options)
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    try:
        require(PROGRAM, PACKAGE)
    except ProgramMissing as error:
        sys.exit(str(error))
