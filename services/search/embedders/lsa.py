"""Latent semantic vectors, computed by a child process: what the worker orders, and how it waits."""

import os
import pickle
import select
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from tempfile import TemporaryFile
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from services.kernel.child_environment import child_environment

_CHILD = "services.search.embedders.lsa_child"
_CHECK_SECONDS = 0.5
_ERROR_BYTES = 1024


class ChildFailed(Exception):
    """The child has ended: out of memory or time, or killed. Another one may do better. It says what was told last."""


@dataclass(frozen=True, slots=True, eq=False)
class Begin:
    """From now on it is about these chunks, ascending."""

    chunk_nos: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Add:
    """Terms and their encoded postings, of these and of other chunks."""

    terms: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class Load:
    """Learn nothing: this was learnt before."""

    parts: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Fit:
    """Learn from the chunks. The answer: the parts of what was learnt, None where there is too little text."""


@dataclass(frozen=True, slots=True)
class Fold:
    """The answer: the chunks' vectors, in their order."""


Order = Begin | Add | Load | Fit | Fold
Result = list[bytes] | NDArray[np.float32] | None


class LsaChild:
    """A child process that fits and folds, as long as it is entered."""

    def __init__(self, check: Callable[[], None]) -> None:
        """While it is waited for, `check` is called now and then; what it raises ends the wait."""
        self._check = check
        self._process: subprocess.Popen[bytes] | None = None
        # What it says of its troubles. A pipe would have to be emptied.
        self._errors = TemporaryFile()  # noqa: SIM115  # it lives as long as the child

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", _CHILD],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd="/",
            env=child_environment(),
        )
        os.set_blocking(self._orders, False)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        process = self._started
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, self._errors):
            if pipe is not None:
                pipe.close()

    def begin(self, chunk_nos: NDArray[np.int32]) -> None:
        """Ask about these chunks (ascending) next."""
        self._order(Begin(chunk_nos))

    def add(self, terms: Mapping[str, bytes]) -> None:
        """Hand over terms and their encoded postings."""
        self._order(Add(terms))

    def load(self, parts: Sequence[bytes]) -> None:
        """Fold by what was learnt before."""
        self._order(Load(parts))

    def fit(self) -> list[bytes] | None:
        """What there is to learn, as parts of a projection; None: too little. Raises ChildFailed."""
        self._order(Fit())
        parts: list[bytes] | None = self._result()
        return parts

    def fold(self) -> NDArray[np.float32]:
        """Chunks × dimensions. Raises ChildFailed."""
        self._order(Fold())
        vectors: NDArray[np.float32] = self._result()
        return vectors

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise RuntimeError("the child is not entered")
        return self._process

    @property
    def _orders(self) -> int:
        pipe = self._started.stdin
        if pipe is None:
            raise RuntimeError("the child has no way in")
        return pipe.fileno()

    def _order(self, order: Order) -> None:
        left = memoryview(pickle.dumps(order, pickle.HIGHEST_PROTOCOL))
        while left:
            # A child that is at work takes its time to read.
            if not select.select([], [self._orders], [], _CHECK_SECONDS)[1]:
                self._check()
                continue
            try:
                left = left[os.write(self._orders, left) :]
            except BrokenPipeError as error:
                raise self._failed() from error

    def _result(self) -> Any:  # a Result, of which the order says which
        pipe = self._started.stdout
        if pipe is None:
            raise RuntimeError("the child has no way out")
        self._check()
        while not select.select([pipe], [], [], _CHECK_SECONDS)[0]:
            self._check()
        try:
            return pickle.load(pipe)  # noqa: S301  # of the child that we have started
        except (EOFError, pickle.UnpicklingError) as error:
            raise self._failed() from error

    def _failed(self) -> ChildFailed:
        """How it ended, and the end of what it said."""
        status = self._started.wait()
        self._errors.seek(max(0, self._errors.seek(0, os.SEEK_END) - _ERROR_BYTES))
        return ChildFailed(f"status {status}: {self._errors.read().decode(errors='replace').strip()}")
