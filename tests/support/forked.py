"""Runs commands, each in a process forked off one that has imported the libraries: redis, aiohttp and their like.

They are four fifths of what a command takes to start, and no part of what its tests are about. Of smsd nothing is
imported before the fork: each command imports its own modules and reads its environment, as one does that is typed.
Started as a program it reads requests, one a line, and answers each with the exit code. Never runs two at a time.
"""

import atexit
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path

import msgspec

LIBRARIES = ("aiohttp", "asyncio", "orjson", "phonenumbers", "prometheus_client", "redis.asyncio", "structlog")
ROOT = Path(__file__).resolve().parents[2]


class Request(msgspec.Struct, frozen=True):
    """A command and where it runs."""

    words: Sequence[str]
    env: Mapping[str, str]
    cwd: str
    out: str  # files for what it says
    err: str
    limit_s: int  # after which the kernel ends it


class Forks:
    """The process that forks. It ends when this one does, however that happens: nobody holds its input any more."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.support.forked"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        atexit.register(self.close)

    def run(self, request: Request) -> int:
        """Waits for its end; the exit code, negative for a signal."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())
        except BaseException:  # a test's time is over: the answer that comes later must not be another command's
            forks.cache_clear()
            raise

    def close(self) -> None:
        with self._process:
            pass


@cache
def forks() -> Forks:
    """This process's own."""
    return Forks()


def serve() -> Callable[[], int] | None:
    """Returns in a child with the command that it is to run, and in the parent, at the end of the input, with None."""
    for library in LIBRARIES:
        import_module(library)
    gc.freeze()
    answers = os.dup(1)
    for line in sys.stdin.buffer:
        child = os.fork()
        if not child:
            os.close(answers)
            return _become(msgspec.json.decode(line, type=Request))
        _, status = os.waitpid(child, 0)
        os.write(answers, b"%d\n" % os.waitstatus_to_exitcode(status))
    return None


def _become(request: Request) -> Callable[[], int]:
    """From here on this process is the command's own: its files, its folder, its environment, its words."""
    for number, path in ((0, os.devnull), (1, request.out), (2, request.err)):
        file = os.open(path, os.O_RDWR | os.O_CREAT)
        os.dup2(file, number)
        os.close(file)
    os.chdir(request.cwd)
    os.environ.clear()
    os.environ.update(request.env)
    sys.path[:0] = filter(None, request.env.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["smsd", *request.words]
    assert not [name for name in sys.modules if name.partition(".")[0] in ("smsd", "smsd_providers")]
    signal.alarm(request.limit_s)
    from smsd.cli import main

    return main


if __name__ == "__main__":
    if command := serve():
        code = command()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # taking all the libraries down takes as long as the command
