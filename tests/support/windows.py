"""`python -m tests.support.windows`: everything that the project has is imported, and some of it run, with what Windows has.

Other people's packages are as they are here. For the project's own code modules and functions of POSIX are absent, no folder can be opened,
and only what may be written can be flushed. A file that somebody holds open or maps cannot be replaced or removed. (Other separators of
paths and lines cannot be had here: `mypy --platform win32` and eyes are for what is left.)
"""

import builtins
import errno
import importlib
import os
import pkgutil
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PACKAGES = ("posegan", "pipeline", "lessons")
MODULES = ("crypt", "fcntl", "grp", "nis", "posix", "pty", "pwd", "readline", "resource", "spwd", "syslog", "termios", "tty")
SIGNALS = ("SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGQUIT", "SIGSTOP", "SIGTSTP", "SIGUSR1", "SIGUSR2", "SIGXFSZ")
FUNCTIONS = (
    "chown", "chroot", "confstr", "ctermid", "fchdir", "fchown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups",
    "getloadavg", "getpgid", "getpgrp", "getpriority", "getresgid", "getresuid", "getsid", "getuid", "initgroups", "killpg", "lchown",
    "lockf", "major", "makedev", "memfd_create", "minor", "mkfifo", "mknod", "nice", "openpty", "pathconf", "posix_fadvise",
    "posix_fallocate", "posix_spawn", "pread", "preadv", "pwrite", "pwritev", "sched_getaffinity", "sched_setaffinity", "sched_yield",
    "sendfile", "setegid", "seteuid", "setgid", "setgroups", "setpgid", "setpriority", "setsid", "setuid", "statvfs", "sync", "sysconf",
    "tcgetpgrp", "ttyname", "uname", "wait", "wait3", "wait4", "waitid",
)  # fmt: skip


def modules() -> list[str]:
    """The names of all modules of the project, but for those that are a command of their own: `pipeline.generators.__main__`."""
    found = [each.name for package in PACKAGES for each in pkgutil.walk_packages([str(ROOT / package)], f"{package}.")]
    return [name for name in found if not re.search(r"\..+\.__main__$", name)]


def be_windows() -> None:
    """Import the project with what it needs, then hide from it what Windows lacks, and import it again."""
    for name in modules():
        importlib.import_module(name)
    for name in [name for name in sys.modules if name.partition(".")[0] in PACKAGES]:
        del sys.modules[name]
    real_import = builtins.__import__

    def imported(name: str, *arguments: Any, **keywords: Any) -> Any:
        if name in MODULES and _is_ours(sys._getframe(1)):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real_import(name, *arguments, **keywords)

    builtins.__import__ = imported
    for name in SIGNALS:
        delattr(signal, name)
    for name in FUNCTIONS:
        if hasattr(os, name):
            setattr(os, name, _absent(name, getattr(os, name)))
    for name, refused in {"open": _a_folder, "fsync": _only_read}.items():
        setattr(os, name, _refusing(getattr(os, name), refused, ours_alone=True))
    for name in ("replace", "rename", "remove", "unlink"):
        setattr(os, name, _refusing(getattr(os, name), _held, ours_alone=False))
    for name in modules():
        importlib.import_module(name)


def _is_ours(frame: Any) -> bool:
    return frame.f_globals.get("__name__", "").partition(".")[0] in PACKAGES


def _absent(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        if _is_ours(sys._getframe(1)):
            raise AttributeError(f"module 'os' has no attribute {name!r}")
        return function(*arguments, **keywords)

    return call


def _refusing(function: Callable[..., Any], refused: Callable[..., bool], ours_alone: bool) -> Callable[..., Any]:
    def call(*arguments: Any, **keywords: Any) -> Any:
        if (_is_ours(sys._getframe(1)) or not ours_alone) and refused(*arguments, **keywords):
            raise PermissionError(errno.EACCES, "as Windows answers", str(arguments[0]))
        return function(*arguments, **keywords)

    return call


def _a_folder(path: Any, *_: Any, **__: Any) -> bool:
    return os.path.isdir(path)


def _only_read(descriptor: int) -> bool:
    flags = re.search(r"flags:\s*(\d+)", Path(f"/proc/self/fdinfo/{descriptor}").read_text())
    assert flags
    return int(flags[1], 8) & os.O_ACCMODE == os.O_RDONLY


def _held(*paths: Any, dir_fd: int | None = None, **_: Any) -> bool:
    """Whether this process holds one of these files open, or one in a folder of them."""
    folder = "" if dir_fd is None else os.readlink(f"/proc/self/fd/{dir_fd}")
    places = [os.path.realpath(os.path.join(folder, os.fsdecode(path))) for path in paths]
    return any(held == place or held.startswith(f"{place}/") for place in places for held in _open_files())


def _open_files() -> Iterator[str]:
    for descriptor in os.listdir("/proc/self/fd"):
        try:
            if os.path.isfile(path := os.readlink(f"/proc/self/fd/{descriptor}")):
                yield path
        except FileNotFoundError:  # the listing's own
            continue
    yield from re.findall(r" (/.+)$", Path("/proc/self/maps").read_text(), re.MULTILINE)


def run(folder: Path) -> None:
    """Draw, export, read archives, make shards and train, each twice, so that every file and folder is also replaced."""
    import click

    from pipeline.download.stage import from_archive
    from pipeline.shard.stage import shard
    from pipeline.train.stage import train
    from posegan.__main__ import cli
    from tests.support import hostile
    from tests.support.small_market import prepare
    from tests.support.tiny_run import train_options

    def call(command: click.Command, *line: object) -> None:
        command.main([str(part) for part in line], standalone_mode=False)

    people = ROOT / "posegan" / "demo" / "people"
    made = prepare(folder)
    options = train_options(folder, made.shards, iterations=2, log_every=1, validate_every=2, sample_every=2, checkpoint_every=1)
    for kind in ("zip", "tar", "tar_gz"):
        (folder / kind).write_bytes(hostile.archives()[kind].data)
    for _ in range(2):
        for kind in ("zip", "tar", "tar_gz"):
            from_archive(folder / kind, folder / "images.zip", "")
        call(cli, "transfer", people / "1.jpg", "--keypoints", people / "keypoints.csv", "--pose", "standing", "--out", folder / "one.png")
        call(cli, "transfer", people, "--keypoints", people / "keypoints.csv", "--pose", "sitting/left", "--out", folder / "many")
        call(cli, "export", folder / "hub")
        call(shard, "--params", folder / "params.yaml", "--raw", made.raw, "--keypoints", made.keypoints, "--pairs", made.pairs,
             "--out", folder / "packed")  # fmt: skip
        call(shard, "--verify", "--out", folder / "packed")
        call(train, *options)


if __name__ == "__main__":
    be_windows()
    with tempfile.TemporaryDirectory() as name:
        run(Path(name))
    print("as on Windows: all is well")
