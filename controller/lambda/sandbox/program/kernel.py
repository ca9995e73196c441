"""The few system calls that Python has no function for, through the C library of the image.

Every call raises OSError, with what was attempted, when the kernel refuses: a sandbox that is not whole must not come up.
"""

import ctypes
import os

_libc = ctypes.PyDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MNT_DETACH = 2

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2

# NOROOT, NO_SETUID_FIXUP, NO_CAP_AMBIENT_RAISE, each with its lock; KEEP_CAPS stays off and locked. linux/securebits.h
SECUREBITS = 0b11101111

_CAPABILITY_VERSION_3 = 0x20080522
_KEYCTL_JOIN_SESSION_KEYRING = 1
_SYS_KEYCTL = {"x86_64": 250, "aarch64": 219}[os.uname().machine]


def _check(result, what):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags):
    _check(_libc.unshare(flags), f"unshare {flags:#x}")


def setns(descriptor, kind):
    _check(_libc.setns(descriptor, kind), f"setns {kind:#x}")


def mount(source, target, kind, flags, options=""):
    arguments = (source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode())
    _check(_libc.mount(*arguments), f"mount {kind} on {target}")


def unmount(target):
    _check(_libc.umount2(target.encode(), MNT_DETACH), f"unmount {target}")


def prctl(option, value=0, third=0):
    zero = ctypes.c_ulong(0)
    arguments = (option, ctypes.c_ulong(value), ctypes.c_ulong(third), zero, zero)
    _check(_libc.prctl(*arguments), f"prctl {option}")


def join_fresh_session_keyring():
    """Keys of whoever started the controller are not inherited. A kernel without keys has none to hide."""
    try:
        _check(_libc.syscall(_SYS_KEYCTL, _KEYCTL_JOIN_SESSION_KEYRING, None), "keyctl")
    except OSError as error:
        if error.errno not in (38, 1):  # ENOSYS; EPERM where a container's own profile forbids keys altogether
            raise


def last_capability():
    with open("/proc/sys/kernel/cap_last_cap") as file:
        return int(file.read())


def drop_all_capabilities(last):
    """For good: none can come back by an exec, a set-user-id file or an inherited one."""
    for capability in range(last + 1):
        prctl(PR_CAPBSET_DROP, capability)
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    prctl(PR_SET_SECUREBITS, SECUREBITS)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _check(_libc.capset(header, none), "capset")


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]


def install_seccomp(code):
    """`code`: instructions of 8 bytes each. Needs no_new_privs."""
    program = _Program(len(code) // 8, code)
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program))
