import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from services.mesh import children, logs
from services.mesh.children import Backoff, Child, Program, describe_exit, wait_until_ready
from services.mesh.errors import StartFailed
from services.mesh.logs import LogFile
from services.mesh.spawn import spawn
from tests.support.waiting import until, until_gone

WAITS = "import signal; print('here', flush=True); signal.pause()"
DEAF = """import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('here', flush=True)
while True: signal.pause()"""


def child(tmp_path: Path, code: str) -> Child:
    log = LogFile(tmp_path / "child.log")
    program = Program("child", [sys.executable, "-c", code], lambda: "here" in log.tail())
    return Child(program, log)


def started(tmp_path: Path, code: str) -> Child:
    made = child(tmp_path, code)
    made.start()
    wait_until_ready([made], deadline=float("inf"), on_ready=lambda child, seconds: None)
    return made


class TestSpawn:
    def test_it_has_a_process_group_of_its_own(self) -> None:
        process = spawn(["/bin/cat", "/proc/self/stat"], death_signal=signal.SIGKILL, output=subprocess.PIPE)
        output, _ = process.communicate(timeout=20)
        pid, *_, group = output.split()[:5]
        assert int(pid) == int(group) == process.pid

    def test_what_python_ignores_for_itself_is_not_ignored_for_it(self) -> None:
        # What is ignored stays so across an exec.
        process = spawn(["/bin/cat", "/proc/self/status"], death_signal=signal.SIGKILL, output=subprocess.PIPE)
        output, _ = process.communicate(timeout=20)
        ignored = next(line for line in output.decode().splitlines() if line.startswith("SigIgn:"))
        mask = int(ignored.split()[1], 16)
        assert not [number for number in (signal.SIGPIPE, signal.SIGXFSZ) if mask >> (number - 1) & 1]

    def test_a_program_that_is_not_there(self) -> None:
        process = spawn(["/no/such/program"], death_signal=signal.SIGKILL, output=subprocess.PIPE)
        output, _ = process.communicate(timeout=20)
        assert process.returncode == 127
        assert b"cannot run /no/such/program: [Errno 2] No such file or directory" in output

    def test_not_from_another_thread(self) -> None:
        raised: list[BaseException] = []

        def try_it() -> None:
            try:
                spawn(["/bin/true"], death_signal=signal.SIGKILL, output=subprocess.DEVNULL)
            except RuntimeError as error:
                raised.append(error)

        thread = threading.Thread(target=try_it)
        thread.start()
        thread.join()
        assert "main thread" in str(raised[0])

    def test_children_of_a_killed_parent_are_gone(self, tmp_path: Path) -> None:
        code = (
            "import signal, sys; from services.mesh.spawn import spawn\n"
            f"deaf = [sys.executable, '-c', {DEAF!r}]\n"
            "for _ in range(2): print(spawn(deaf, death_signal=signal.SIGKILL, output=1).pid, flush=True)\n"
            "signal.pause()"
        )
        environment = children.own_environment()
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment) as parent:
            assert parent.stdout is not None
            lines = [parent.stdout.readline().strip() for _ in range(4)]
            pids = [int(line) for line in lines if line.isdigit()]
            assert len(pids) == lines.count(b"here") == 2
            parent.kill()
        until_gone(pids)


class TestChild:
    def test_it_stops_when_asked(self, tmp_path: Path) -> None:
        process = started(tmp_path, WAITS)
        assert process.stop(grace=10).startswith("stopped in")
        assert process.pid is None
        assert process.stop(grace=10) == "was gone already"

    def test_a_deaf_one_is_killed_after_its_grace(self, tmp_path: Path) -> None:
        process = started(tmp_path, DEAF)
        assert process.stop(grace=0.1).startswith("killed after 0.")

    def test_nobody_waits_for_a_deaf_one_in_a_hurry(self, tmp_path: Path) -> None:
        process = started(tmp_path, DEAF)
        assert process.stop(grace=60, hurry=lambda: True).startswith("killed after 0.")

    def test_one_that_ends_while_it_starts_shows_its_log(self, tmp_path: Path) -> None:
        with pytest.raises(StartFailed, match=r"(?s)child did not start: it ended with status 3\nno luck"):
            started(tmp_path, "print('no luck'); raise SystemExit(3)")

    def test_one_that_is_never_ready(self, tmp_path: Path) -> None:
        process = child(tmp_path, "import signal; signal.pause()")
        process.start()
        with pytest.raises(StartFailed, match="not ready in time"):
            wait_until_ready([process], deadline=0.0, on_ready=lambda child, seconds: None)
        process.stop(grace=0)

    def test_one_that_dies_is_started_again_and_that_is_told_once(self, tmp_path: Path) -> None:
        process = started(tmp_path, WAITS)
        first = process.pid
        assert process.look_after() is None
        assert first is not None
        os.kill(first, signal.SIGKILL)
        told: list[str] = []

        def is_back() -> bool:
            told.extend(filter(None, [process.look_after()]))
            return any(text.startswith("is back") for text in told)

        until(is_back, "the child again")
        assert len(told) == 2
        assert told[0].startswith("was ended by SIGKILL, starts again in 0.2 s")
        assert process.pid != first
        process.stop(grace=10)

    def test_one_that_was_stopped_stays_so(self, tmp_path: Path) -> None:
        process = started(tmp_path, WAITS)
        process.stop(grace=10)
        assert process.look_after() is None
        assert process.pid is None


class TestBackoff:
    def test_it_doubles_up_to_its_bound(self) -> None:
        backoff = Backoff()
        assert [backoff.next(lived=1.0) for _ in range(7)] == [0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]

    def test_a_long_life_clears_the_past(self) -> None:
        backoff = Backoff()
        for _ in range(5):
            backoff.next(lived=1.0)
        assert backoff.next(lived=60.0) == 0.2


class TestDescribeExit:
    @pytest.mark.parametrize(
        ("status", "words"),
        [(0, "ended with status 0"), (-11, "was ended by SIGSEGV"), (-200, "was ended by signal 200")],
    )
    def test_in_words(self, status: int, words: str) -> None:
        assert describe_exit(status) == words


class TestLogFile:
    def test_new_lines_come_whole_and_once(self, tmp_path: Path) -> None:
        log = LogFile(tmp_path / "log")
        (tmp_path / "log").write_text("of an earlier run\n")
        with log.open() as output:
            output.write(b"one\ntw")
            output.flush()
            assert log.new_lines() == ["one"]
            output.write(b"o\n")
            output.flush()
            assert log.new_lines() == ["two"]
            assert log.new_lines() == []
        assert log.tail() == "one\ntwo\n"

    def test_a_file_that_grew_too_long_is_put_aside_under_its_writer(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(logs, "MAX_BYTES", 10)
        log = LogFile(tmp_path / "log")
        with log.open() as output:
            output.write(b"much too long\n")
            output.flush()
            log.rotate()
            output.write(b"next\n")
        assert (tmp_path / "log").read_text() == "next\n"
        assert (tmp_path / "log.1").read_text() == "much too long\n"
        assert log.new_lines() == ["next"]
