"""Every command in the README, and in the guide to search behind it, does what it says.

The rules: the blocks fenced as `sh` run in order, each line of them, in one bash session at the root of the repository,
against a running mesh. The addresses of `make up` (port 8080 of this machine) stand for those of this mesh, `.venv/bin`
for where our Python lies, and PLINTH_DATA_DIR names the mesh's data. A command that fails, anywhere in a pipeline,
fails the test. Where a `json` block follows, the last JSON that was printed has its shape: the same keys, and the same
codes and reasons. Lines that begin with `make`, in blocks without a language too, are not run (`make test` would come
here again), but `make` has to know the target. `plinth COMMAND` in tables and text has to be a command.
"""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from services.mesh.children import own_environment
from tests.e2e.conftest import Edge
from tests.support.settings import ENVIRONMENT

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e")]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs" / "search.md").read_text()
ADDRESS = re.compile(r"(127\.0\.0\.1|localhost):8080")
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_SAME_VALUE = ("code", "reason", "domain", "message", "@type", "displayName")
_MARK = "--- block"


@dataclass
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


BLOCKS = [Block(*found) for found in _FENCED.findall(README + GUIDE)]
SHELL = [number for number, block in enumerate(BLOCKS) if block.language == "sh"]
MAKE = sorted({line.split("#")[0].strip() for b in BLOCKS for line in b.text.splitlines() if line.startswith("make ")})
COMMANDS = sorted(set(re.findall(r"`(?:\.venv/bin/)?plinth ((?:[a-z]+ ?)+)", README)))


@pytest.fixture(scope="module")
def printed(whole: Edge) -> dict[int, str]:
    """What each of the blocks printed, by its number."""
    script = "set -euo pipefail\n"
    for number in SHELL:
        lines = (line for line in BLOCKS[number].text.splitlines() if not line.startswith("make "))
        script += f"echo; echo '{_MARK} {number}'\n" + "\n".join(lines) + "\n"
    script = ADDRESS.sub(whole.mesh.edge_address, script).replace(".venv/bin/", f"{Path(sys.executable).parent}/")
    environment = own_environment(**ENVIRONMENT, PLINTH_DATA_DIR=str(whole.mesh.options.data_dir))
    done = subprocess.run(
        ["bash"], input=script, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    pieces = re.split(rf"^{_MARK} (\d+)$", done.stdout, flags=re.MULTILINE)[1:]
    return {int(number): text.strip() for number, text in zip(pieces[::2], pieces[1::2], strict=True)}


@pytest.mark.parametrize("number", SHELL, ids=lambda number: BLOCKS[number].text.splitlines()[0][:60])
def test_a_block_runs_and_prints_what_it_shows(number: int, printed: dict[int, str]) -> None:
    shown = BLOCKS[number + 1] if number + 1 < len(BLOCKS) else Block("", "")
    assert "Traceback" not in printed[number]
    if shown.language == "json":
        answer = _last_json(printed[number])
        assert list(_shape(answer)) == list(_shape(json.loads(shown.text)))
    else:
        assert '"code"' not in printed[number], "an error that the README does not show"


@pytest.mark.parametrize("command", MAKE)
def test_make_knows_the_target(command: str) -> None:
    known = subprocess.run(
        ["make", "--dry-run", *command.split()[1:]], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert known.returncode == 0, known.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_plinth_knows_the_command(command: str) -> None:
    asked = [sys.executable, "-m", "services.cli", *command.split(), "--help"]
    known = subprocess.run(
        asked, env=own_environment(), cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert known.returncode == 0, known.stderr


def test_the_readme_has_something_to_run() -> None:
    assert len(SHELL) > 3
    assert len(MAKE) > 1
    assert len(COMMANDS) > 3


# Any: JSON.
def _last_json(text: str) -> Any:
    """The last JSON value on the last line; curl ends no line."""
    line, found = text.splitlines()[-1], None
    while line:
        found, end = json.JSONDecoder().raw_decode(line)
        line = line[end:].lstrip()
    return found


def _shape(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Every path in a JSON value, with the value where that has to be the same each time."""
    match value:
        case dict():
            for key, inner in value.items():
                yield f"{path}.{key}", inner if key in _SAME_VALUE else None
                yield from _shape(inner, f"{path}.{key}")
        case list():
            for inner in value:
                yield from _shape(inner, f"{path}[]")
