"""Run one command inside a host of the pool; a script, standard library only (it starts fast).

`python -I -S enter.py SPEC_JSON`: joins the namespaces of a process, becomes the wanted user and
runs the command. This process stays outside as its stand-in: it passes signals on and ends as
the command ends.
"""

import ctypes
import json
import os
import signal
import sys
from typing import Any, NoReturn

PR_SET_PDEATHSIG = 1
SI_KERNEL = 0x80  # si_code of signals that the terminal sends to the whole foreground group
NAMESPACES = ("user", "mnt", "uts", "ipc", "net", "pid")  # user first: it gives the rights
PASSED_ON = {
    signal.SIGINT,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGCONT,
    signal.SIGWINCH,
}

libc = ctypes.CDLL(None, use_errno=True)


def fail(text: str, status: int = 1) -> NoReturn:
    """Exit with one line on standard error."""
    print(f"Error: {text}", file=sys.stderr, flush=True)
    os._exit(status)


def join(pid: int) -> None:
    """Enter all namespaces of process `pid`, which may be another user's inside the pool."""
    try:
        files = [os.open(f"/proc/{pid}/ns/{name}", os.O_RDONLY) for name in NAMESPACES]
    except OSError:
        fail("the pool has just gone down: osgpilot pool up")
    for name, file in zip(NAMESPACES, files, strict=True):
        if libc.setns(file, 0) == -1:
            fail(f"cannot enter the pool ({name}: {os.strerror(ctypes.get_errno())})")
        os.close(file)


def become(spec: dict[str, Any]) -> NoReturn:
    """Drop to the wanted user, go to the folder and replace this process by the command."""
    os.setgroups([spec["gid"]])
    os.setresgid(*[spec["gid"]] * 3)
    # by way of root, since only leaving uid 0 drops the capabilities that joining gave
    os.setresuid(0, 0, 0)
    os.setresuid(*[spec["uid"]] * 3)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    os.umask(0o022)
    try:
        os.chdir(spec["dir"])
    except OSError as error:
        fail(f"{spec['dir']} is not there for {spec['user']}: {error.strerror}; {spec['remedy']}")
    try:
        os.execvpe(spec["argv"][0], spec["argv"], spec["env"])
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        fail(f"{spec['argv'][0]}: {error.strerror}", 127 if missing else 126)


def stand_in(child: int) -> int:
    """Pass signals on to `child` until it ends; return its wait status."""
    while True:
        info = signal.sigwaitinfo(PASSED_ON | {signal.SIGCHLD})
        if info.si_signo == signal.SIGCHLD:
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid == child:
                return status
        elif info.si_code != SI_KERNEL:
            os.kill(child, info.si_signo)


def end_as(status: int) -> NoReturn:
    """End as the command ended: same exit status, same signal."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.kill(os.getpid(), number)
        os._exit(128 + number)
    os._exit(os.WEXITSTATUS(status))


def main(spec_json: str) -> NoReturn:
    """Run what `spec_json` says.

    Keys: pid (of a process in the host), uid, gid, user, dir, env, argv, and remedy, what to do
    if dir is not there.
    """
    spec = json.loads(spec_json)
    join(spec["pid"])
    old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON | {signal.SIGCHLD})
    child = os.fork()
    if child == 0:
        signal.pthread_sigmask(signal.SIG_SETMASK, old_mask)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it; the command shall not
        become(spec)
    end_as(stand_in(child))


if __name__ == "__main__":
    main(sys.argv[1])
