/** Holds the common beginning of the programs of escape suites. They are Python, as both kinds of place can run it. */

/** Available to every program: raw system calls, and the two ways to end. */
export const PRELUDE = String.raw`
import ctypes, errno, json, os, signal, socket, sys, time
_libc = ctypes.CDLL(None, use_errno=True)
_x86 = os.uname().machine == 'x86_64'
_numbers = dict(ptrace=(101, 117), mount=(165, 40), umount2=(166, 39), unshare=(272, 97), setns=(308, 268), pivot_root=(155, 41),
    add_key=(248, 217), request_key=(249, 218), keyctl=(250, 219), bpf=(321, 280), io_uring_setup=(425, 425),
    perf_event_open=(298, 241), userfaultfd=(323, 282), open_by_handle_at=(304, 265), name_to_handle_at=(303, 264),
    clock_settime=(227, 112), settimeofday=(164, 170), clock_adjtime=(305, 266), init_module=(175, 105), finit_module=(313, 273),
    reboot=(169, 142), swapon=(167, 224), process_vm_readv=(310, 270), process_vm_writev=(311, 271), kcmp=(312, 272),
    pidfd_getfd=(438, 438), memfd_create=(319, 279), fsopen=(430, 430), open_tree=(428, 428), move_mount=(429, 429),
    mount_setattr=(442, 442), clone3=(435, 435), seccomp=(317, 277), personality=(135, 92), acct=(163, 89), quotactl=(179, 60),
    shmget=(29, 194), msgget=(68, 186), semget=(64, 190), mq_open=(240, 180), syslog=(103, 116), kexec_load=(246, 104),
    sched_setscheduler=(144, 119), setpriority=(141, 140), capset=(126, 91), sendmsg=(46, 211), socket=(41, 198), chroot=(161, 51),
    mknodat=(259, 33), fchownat=(260, 54), sethostname=(170, 161), setdomainname=(171, 162), landlock_create_ruleset=(444, 444),
    execveat=(322, 281), ioprio_set=(251, 30), sched_setattr=(314, 274), membarrier=(324, 283), fanotify_init=(300, 262), inotify_init1=(294, 26), vmsplice=(278, 75), splice=(275, 76), mlockall=(151, 230))
def call(name, *arguments):
    """0 or more, or minus the errno."""
    ctypes.set_errno(0)
    result = _libc.syscall(_numbers[name][0 if _x86 else 1], *arguments)
    return result if result != -1 else -ctypes.get_errno()
def name_of(error):
    return errno.errorcode.get(error, str(error))
def held(by):
    print(json.dumps({'held': by}), flush=True)
    sys.exit(0)
def broke(what):
    print(json.dumps({'broke': what}), flush=True)
    sys.exit(0)
def refused(*calls):
    """Each of (name, arguments...) must be refused."""
    answers = {}
    for name, *arguments in calls:
        result = call(name, *arguments)
        if result >= 0: broke(f'{name} answered {result}')
        answers.setdefault(name_of(-result), []).append(name)
    held('; '.join(f'{answer}: {", ".join(names)}' for answer, names in answers.items()))
def unreadable(*paths):
    """None of them may be opened, and nothing may be listed."""
    answers = {}
    for path in paths:
        try:
            found = os.listdir(path) if path.endswith('/') else open(path, 'rb').read(64)
            if found: broke(f'{path}: {found[:5]!r}')
            answers.setdefault('empty', []).append(path)
        except OSError as error:
            answers.setdefault(name_of(error.errno), []).append(path)
    held('; '.join(f'{answer}: {", ".join(names)}' for answer, names in answers.items()))
`;
