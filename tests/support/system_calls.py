"""What a program asks of the kernel, by strace, and what a power cut would leave of it at any moment."""

import codecs
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Call", "Volatile", "read_calls", "under_strace"]

_SEEN = (
    "openat,mkdir,mkdirat,write,writev,pwrite64,pwritev,pwritev2,sendto,sendmsg,rename,renameat,renameat2,unlink,unlinkat,"
    "ftruncate,fsync,fdatasync,syncfs"
)
_SHOWN_BYTES = 5000
"""Of what is written: a page of SQLite, or the facts of a journal's record."""

_ENTRY = re.compile(r"(\d+) +(?:<\.\.\. (\w+) resumed>|(\w+)\()(.*)")
_RESULT = re.compile(r"\) += (-?\d+)(?:<[^>]*>)?(?: .*)?$")
_UNFINISHED = " <unfinished ...>"
_DESCRIPTOR = re.compile(r"\d+<([^>]*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')

_WRITES = ("write", "writev", "pwrite64", "pwritev", "pwritev2")
_SYNCS = ("fsync", "fdatasync", "syncfs")


@dataclass(frozen=True, kw_only=True)
class Call:
    """One system call; of those that failed only syncs are kept.

    Attributes
    ----------
    begun, done
        Where in the trace it began and returned: what a sync covers had returned before it began.
    arguments
        As strace writes them.
    on
        The file of the descriptor that it was given, or empty.
    texts
        Its texts: paths, or the bytes written.
    """

    name: str
    begun: int
    done: int
    arguments: str
    on: str
    texts: tuple[bytes, ...]
    failed: bool

    @property
    def content(self) -> bytes:
        """What was written."""
        return b"".join(self.texts)

    @property
    def paths(self) -> tuple[Path, ...]:
        """The paths that it was given."""
        return tuple(Path(text.decode()) for text in self.texts)


def under_strace(trace: Path, command: Sequence[str], *options: str) -> list[str]:
    """Return the command line that runs a command and its children and writes down their system calls."""
    shown = ["-f", "--seccomp-bpf", "-y", "-s", str(_SHOWN_BYTES), "-e", f"trace={_SEEN}", "-e", "signal=none"]
    return ["strace", *shown, *options, "-o", str(trace), *command]


def read_calls(trace: Path) -> list[Call]:
    """Return the calls, in the order in which they returned."""
    return sorted(_calls(trace), key=lambda call: call.done)


def _calls(trace: Path) -> Iterator[Call]:
    begun: dict[str, tuple[int, str, str]] = {}
    for number, line in enumerate(trace.read_text(encoding="latin-1").splitlines()):
        entry = _ENTRY.match(line)
        if entry is None:
            continue
        thread, resumed, name, rest = entry.groups()
        if rest.endswith(_UNFINISHED):
            begun[thread] = (number, name, rest.removesuffix(_UNFINISHED))
            continue
        start, called, head = begun.pop(thread) if resumed else (number, name, "")
        result = _RESULT.search(rest)
        if result is not None and (int(result[1]) >= 0 or called in _SYNCS):
            yield _call(called, head + rest[: result.start()], (start, number), failed=int(result[1]) < 0)


def _call(name: str, arguments: str, moments: tuple[int, int], *, failed: bool) -> Call:
    descriptor = _DESCRIPTOR.match(arguments)
    return Call(
        name=name,
        begun=moments[0],
        done=moments[1],
        arguments=arguments,
        on=descriptor[1] if descriptor else "",
        texts=tuple(codecs.escape_decode(text.encode("latin-1"))[0] for text in _TEXT.findall(arguments)),
        failed=failed,
    )


@dataclass(kw_only=True)
class Volatile:
    """What a power cut would take: contents and names that nothing has synced since.

    Attributes
    ----------
    contents, names
        Since when, by path; for ever where a sync of contents failed: the kernel takes them for written then.
    """

    contents: dict[Path, float] = field(default_factory=dict)
    names: dict[Path, float] = field(default_factory=dict)

    def see(self, call: Call) -> None:
        """Go on by one call."""
        on = Path(call.on)
        if call.name in _WRITES or call.name == "ftruncate":
            if self.contents.get(on) != math.inf:
                self.contents[on] = call.done
        elif call.name in _SYNCS:
            self._sync(call, on)
        elif call.name.startswith("rename"):
            self._rename(*call.paths, at=call.done)
        elif call.name.startswith("mkdir") or (call.name == "openat" and "O_CREAT" in call.arguments):
            self.names[call.paths[0]] = call.done

    def of(self, path: Path, below: Path) -> str:
        """Return what of a file would be lost, or nothing: its content, its name, or that of a folder above it."""
        if path in self.contents:
            return f"the content of {path.name}"
        lost = [one for one in (path, *path.parents) if one in self.names and one.is_relative_to(below)]
        return f"the name {lost[0].relative_to(below)}" if lost else ""

    def _sync(self, call: Call, on: Path) -> None:
        for kept, covered in (
            (self.contents, lambda path: path == on or call.name == "syncfs"),
            (self.names, lambda path: path.parent == on or call.name == "syncfs"),
        ):
            for path in [path for path, since in kept.items() if since < call.begun and covered(path)]:
                if not call.failed:
                    del kept[path]
                elif kept is self.contents:
                    kept[path] = math.inf

    def _rename(self, old: Path, new: Path, *, at: int) -> None:
        self.contents.pop(new, None)
        if old in self.contents:
            self.contents[new] = self.contents.pop(old)
        self.names.pop(old, None)
        self.names[new] = at
