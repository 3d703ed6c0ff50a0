"""The environment of a child process that computes and needs to know nothing."""

import os
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]


def child_environment() -> dict[str, str]:
    """All that it gets of ours: not one secret.

    It computes in one thread: the other cores have other work, and threads do not outlive a fork.
    """
    libraries = os.environ.get("LD_LIBRARY_PATH")
    return {
        "PYTHONPATH": str(_ROOT),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **({"LD_LIBRARY_PATH": libraries} if libraries else {}),
    }
