"""Generates all that follows from the contract, from one descriptor image: `make gen`.

`gen/` (Python stubs), `deploy/envoy/` (Envoy's configuration and descriptor image) and `docs/openapi.json` are made in
a temporary folder and then put in place file by file, so several may run this at once and a failure changes nothing.
With `--check` nothing is put in place: it lists what is stale and ends with status 1.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools import deps

BUILD = deps.ROOT / ".build"
IMAGE = BUILD / "image.binpb"
ENVOY_IMAGE = "deploy/envoy/image.binpb"

# What is generated: whole folders, in which nothing else may lie, and single files.
FOLDERS = ("gen",)
FILES = ("deploy/envoy/envoy.json", ENVOY_IMAGE, "docs/openapi.json")

# buf counts an import as used by an option, but not by an extension set inside another option: it warns wherever rules
# of text.proto are used.
_FALSE_WARNING = "warning: Import plinth/options/v1/text.proto is unused.\n"


def buf(*arguments: str) -> None:
    """Runs buf at the root, with this interpreter's plugins first on the path. Ends the program when buf fails."""
    binaries = Path(sys.executable).parent
    environment = dict(os.environ, PATH=f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}")
    done = subprocess.run(
        [binaries / "buf", *arguments], cwd=deps.ROOT, env=environment, check=False, stderr=subprocess.PIPE, text=True
    )
    sys.stderr.writelines(line for line in done.stderr.splitlines(keepends=True) if not line.endswith(_FALSE_WARNING))
    if done.returncode != 0:
        raise SystemExit(done.returncode)


@contextmanager
def alone() -> Iterator[None]:
    """Holds the lock of `.build`, so that two runs do not interleave."""
    BUILD.mkdir(exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build(out: Path) -> None:
    """Writes everything generated below `out`, laid out like the repository."""
    buf("build", "--output", str(IMAGE))
    # Google's files are in the image for Envoy, but their stubs are installed: generated ones would shadow them.
    buf("generate", str(IMAGE), "--path", "plinth", "--path", "buf", "--output", str(out))
    # mypy-protobuf writes a stub for files without a service too.
    for stub in out.rglob("*_pb2_grpc.pyi"):
        if not stub.with_suffix(".py").exists():
            stub.unlink()
    trim = ("--exclude-source-info", "--as-file-descriptor-set")
    (out / ENVOY_IMAGE).parent.mkdir(parents=True, exist_ok=True)
    buf("build", str(IMAGE), "--output", str(out / ENVOY_IMAGE), *trim)


def generated(root: Path) -> dict[str, bytes]:
    """Every generated file below `root`, by its path from there."""
    found = [path for folder in FOLDERS for path in (root / folder).rglob("*") if path.suffix in (".py", ".pyi")]
    found += [root / name for name in FILES if (root / name).is_file()]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in found}


def stale(wanted: dict[str, bytes], present: dict[str, bytes]) -> list[str]:
    """The paths that are absent, differ or are left over, in order."""
    return sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))


def put(wanted: dict[str, bytes], root: Path) -> list[str]:
    """Makes the generated files below `root` those of `wanted`; answers the paths that changed."""
    changed = stale(wanted, generated(root))
    for name in changed:
        if name in wanted:
            deps.write_if_changed(root / name, wanted[name])
        else:
            (root / name).unlink()
    return changed


def main() -> None:
    """Generates, or with `--check` tells what a generation would change."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail when something is stale")
    check = parser.parse_args().check
    with alone(), tempfile.TemporaryDirectory() as folder:
        deps.gather()
        build(Path(folder))
        wanted = generated(Path(folder))
        if check:
            if names := stale(wanted, generated(deps.ROOT)):
                raise SystemExit("Stale, run `make gen`:\n" + "\n".join(f"  {name}" for name in names))
            print(f"{len(wanted)} generated files are fresh.")
        else:
            changed = put(wanted, deps.ROOT)
            print(f"{len(wanted)} files generated, {len(changed)} changed.")


if __name__ == "__main__":
    main()
