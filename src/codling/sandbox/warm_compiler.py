"""Compilers that stay warm: Java and TypeScript sources in, classes and JavaScript out.

Starting javac takes 0.6 s and tsc 1.8 s; a warm one takes some 20 and 80 ms. Each runs in a box
of its own (isolated like any untrusted code, no network) and only compiles: what it makes runs
elsewhere.

Not here: the programs of the compilers (warm/) and which language needs them (toolchains.py).
"""

import os
import select
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from codling.core.errors import ToolMissingError
from codling.sandbox import bubblewrap
from codling.sandbox.launch import end, launch

HERE = Path(__file__).parent / "warm"
_SECONDS = 60.0


class CompileError(Exception):
    """The source does not compile; the message is the compiler's."""


class CompilerLostError(Exception):
    """The compiler has ended or gives no answer, so nothing is known about the source."""


class WarmCompiler:
    """One compiler process, started at the first source; calls from several threads take turns."""

    def __init__(
        self,
        argv: Sequence[str],
        talk: "Callable[[Pipe, bytes], dict[str, bytes]]",
        shown: Sequence[Path] = (),
        unsafe: bool = False,
    ) -> None:
        self._argv, self._talk, self._unsafe = list(argv), talk, unsafe
        self._shown = (HERE, *shown)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def compile(self, source: str) -> dict[str, bytes]:
        """The files made from `source`.

        CompileError if it does not compile; CompilerLostError if that cannot be said.
        """
        with self._lock:
            if self._process is None:
                self._start()
            assert self._process is not None
            try:
                return self._talk(Pipe(self._process), source.encode())
            except (OSError, EOFError) as error:
                self._end()
                raise CompilerLostError(f"the compiler ended or hung: {error}") from None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _start(self) -> None:
        quiet = subprocess.DEVNULL
        if self._unsafe:
            self._process = launch(self._argv, env=bubblewrap.ENVIRONMENT, stderr=quiet)
        else:
            entry = bubblewrap.argv_without_rights(self._argv)
            self._process = bubblewrap.start(entry, self._shown, stderr=quiet).process

    def _end(self) -> None:
        if self._process is not None:
            end(self._process)
            self._process = None


class Pipe:
    """Exact reads and whole writes on a process's pipes, within a time limit."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdout.fileno(), process.stdin.fileno()
        self._limit = time.monotonic() + _SECONDS

    def write(self, data: bytes) -> None:
        """All of `data`."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._out, view) :]

    def read(self, n: int) -> bytes:
        """Exactly `n` bytes; EOFError or TimeoutError otherwise."""
        data = bytearray()
        while len(data) < n:
            left = max(0.0, self._limit - time.monotonic())
            if not select.select([self._in], [], [], left)[0]:
                raise TimeoutError(f"no answer in {_SECONDS:.0f} s")
            chunk = os.read(self._in, n - len(data))
            if not chunk:
                raise EOFError("its pipe closed")
            data += chunk
        return bytes(data)


def talk_java(pipe: Pipe, source: bytes) -> dict[str, bytes]:
    """The protocol of warm/compile_java.java."""
    pipe.write(struct.pack(">i", len(source)) + source)

    def block() -> bytes:
        return pipe.read(int(struct.unpack(">i", pipe.read(4))[0]))

    (n,) = struct.unpack(">i", pipe.read(4))
    if n < 0:
        raise CompileError(block().decode(errors="replace"))
    return {f"{block().decode().replace('.', '/')}.class": block() for _ in range(n)}


def talk_typescript(pipe: Pipe, source: bytes) -> dict[str, bytes]:
    """The protocol of warm/compile_ts.js."""
    pipe.write(struct.pack("<I", len(source)) + source)
    good, length = struct.unpack("<BI", pipe.read(5))
    data = pipe.read(length)
    if not good:
        raise CompileError(data.decode(errors="replace"))
    return {"main.js": data}


def typescript_path(cache_dir: Path) -> Path:
    """Where npm has put the compiler: our cache, or a global installation; ToolMissingError if
    nowhere."""
    places = [
        cache_dir / "node_modules",
        Path("/usr/lib/node_modules"),
        Path("/usr/local/lib/node_modules"),
    ]
    places.append(Path("/usr/share/nodejs"))
    for place in places:
        if (place / "typescript" / "lib" / "typescript.js").is_file():
            return place / "typescript" / "lib" / "typescript.js"
    raise ToolMissingError(
        f"TypeScript is not installed: npm install --prefix {cache_dir} typescript@5"
    )
