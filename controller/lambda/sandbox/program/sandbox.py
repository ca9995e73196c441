"""What becomes of one fork of the launcher: the sandbox's first process, and then its interpreter.

Order matters. First everything that needs root of the host (cgroups, namespaces, mounts), then a user namespace of its
own, then all rights are given up, then the system call filter, and only then the fork that will run somebody's code. The
first process stays behind as pid 1: it reaps orphans, reports how the interpreter ended, and its end takes every process
of the sandbox along, whatever they did to stay.
"""

import fcntl
import gc
import os
import resource
import signal
import socket

import kernel

# Descriptors of a sandbox: 0 brings the payload and then standard input, 1 and 2 take output. Input is a connection of
# its own: code that does not read it must not cost the output. A result has one, too: nothing that is printed can be
# taken for it.
RESULT = 3
# The first process holds one more, the read end of a pipe whose other end the launcher alone has: it closes with the
# launcher.
LIFELINE = 4
# Asks the launcher for the user mapping.
HANDSHAKE = 5
UID = 1000


def become(spec, descriptors, filter_code, last_capability):
    """Runs in the fork; returns in the interpreter only. `descriptors` are to become 0, 1, 2, RESULT, LIFELINE and HANDSHAKE."""
    status = 70
    interpreter = -1
    try:
        # Out of the way first: one of them may have a number that another one is to get.
        moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, len(descriptors)) for descriptor in descriptors]
        for at, descriptor in enumerate(moved):
            os.dup2(descriptor, at)
        os.closerange(len(descriptors), os.sysconf("SC_OPEN_MAX"))
        _confine(spec, filter_code, last_capability)
        interpreter = os.fork()
        if interpreter == 0:
            os.close(LIFELINE)
            # Programs that the code starts have no use for it.
            os.set_inheritable(RESULT, False)
            _limit_resources(spec)
            # Giving up rights has made /proc/self root's; it is the interpreter's own again, and of it alone.
            kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
            signal.signal(signal.SIGINT, signal.default_int_handler)
            gc.enable()
            return
        for descriptor in (0, 1, 2, RESULT):
            os.close(descriptor)
        status = _reap(interpreter)
    except BaseException as error:
        os.write(2, f"sandbox: {error}\n".encode())
    finally:
        if interpreter != 0:
            os._exit(status)


def _confine(spec, filter_code, last_capability):
    for path in spec["cgroups"]:
        with open(f"/sys/{path}", "w") as file:
            file.write("0")
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    kernel.unshare(
        kernel.CLONE_NEWNS | kernel.CLONE_NEWIPC | kernel.CLONE_NEWUTS | kernel.CLONE_NEWNET | kernel.CLONE_NEWCGROUP
    )
    _make_mounts(spec)
    socket.sethostname("sandbox")
    kernel.join_fresh_session_keyring()
    os.setgroups([])
    kernel.unshare(kernel.CLONE_NEWUSER)
    os.write(HANDSHAKE, b"?")
    if os.read(HANDSHAKE, 1) != b"!":
        raise OSError("the launcher made no user mapping")
    os.close(HANDSHAKE)
    os.setresgid(UID, UID, UID)
    os.setresuid(UID, UID, UID)
    kernel.drop_all_capabilities(last_capability)
    # Only now: giving up rights clears it. If the launcher ended before, its end of the lifeline is closed.
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    os.set_blocking(LIFELINE, False)
    try:
        if os.read(LIFELINE, 1) == b"":
            raise OSError("the launcher has ended")
    except BlockingIOError:
        pass
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    kernel.install_seccomp(filter_code)


def _make_mounts(spec):
    """In a copy of the launcher's mounts: what is the host's goes, what is the sandbox's own comes."""
    for path in ("/sys", "/mnt", "/data", "/proc"):
        kernel.unmount(path)
    quiet = kernel.MS_NOSUID | kernel.MS_NODEV
    # Read-only: whoever could write its own oom_score_adj would have somebody else killed for the memory that it uses.
    locked = quiet | kernel.MS_NOEXEC | kernel.MS_RDONLY
    kernel.mount("proc", "/proc", "proc", locked, "subset=pid,hidepid=invisible")
    kernel.mount("tmp", "/tmp", "tmpfs", quiet, f"mode=1777,size={spec['tmp_bytes']},nr_inodes={spec['tmp_files']}")
    owner = f"uid={spec['uid']},gid={spec['uid']}"
    options = f"{owner},mode=755,size={spec['tmp_bytes']},nr_inodes={spec['tmp_files']}"
    kernel.mount("files", "/mnt", "tmpfs", quiet | kernel.MS_NOEXEC, options)
    os.chdir("/tmp")


def _limit_resources(spec):
    for name, value in spec["rlimits"].items():
        kind = getattr(resource, f"RLIMIT_{name}")
        hard = resource.getrlimit(kind)[1]
        least = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(kind, (least, least))


def _reap(interpreter):
    """As a shell counts: 128 + n for signal n. Orphans of the sandbox end up here, too."""
    while True:
        pid, status = os.wait()
        if pid == interpreter:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
