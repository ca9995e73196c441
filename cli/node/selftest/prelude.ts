/** Begins all programs of the suite, after the beginning that those of sandboxes have. */
import { PRELUDE } from '../../selftest/prelude.js';

/**
 * `facts` is what Surroundings tells. A refusal counts only if it is a barrier: a call that fails for another reason
 * was made wrongly, and would prove nothing.
 */
export const NODE_PRELUDE = `${PRELUDE}${String.raw`
facts = json.loads(sys.argv[1])
_numbers.update(pidfd_open=(434, 434), kexec_file_load=(320, 294), delete_module=(176, 106), io_uring_enter=(426, 426), fsconfig=(431, 431),
    fsmount=(432, 432), fspick=(433, 433), adjtimex=(159, 171), iopl=(172, -1), ioperm=(173, -1), process_madvise=(440, 440), vhangup=(153, 58), ioctl=(16, 29),
    fcntl=(72, 25), sched_setparam=(142, 118), move_pages=(279, 239), mbind=(237, 235), lookup_dcookie=(212, 18), inotify_add_watch=(254, 27), prlimit64=(302, 261),
    io_setup=(206, 0), io_destroy=(207, 1), io_submit=(209, 2), io_cancel=(210, 3), io_getevents=(208, 4), io_pgetevents=(333, 292))
BARRIERS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EROFS}
class Through(Exception): pass
class Gone(Exception): pass
def _report(kind, what, trace):
    if issubclass(kind, Through): print(json.dumps({'broke': str(what)}), flush=True)
    else: sys.__excepthook__(kind, what, trace)
sys.excepthook = _report
def sort(answers):
    return '; '.join(f'{answer}: {", ".join(names)}' for answer, names in answers.items())
def count(answers):
    return ', '.join(f'{answer} for {len(names)}' for answer, names in answers.items())
def barred(*works, also=(), shown=sort):
    """Each of (name, function) must meet a barrier."""
    answers = {}
    for name, work in works:
        try: result = work()
        except Gone: continue
        except OSError as error:
            if error.errno not in BARRIERS and error.errno not in also: raise Through(f'{name}: {name_of(error.errno)} is no barrier')
            answers.setdefault(name_of(error.errno), []).append(name)
        else: raise Through(f'{name} answered {result!r}')
    return shown(answers)
def denied(*calls, also=(), shown=sort):
    """The same for system calls: (name, arguments...)."""
    def work(name, arguments):
        result = call(name, *arguments)
        if result < 0: raise OSError(-result, name)
        return result
    return barred(*((name, lambda name=name, arguments=arguments: work(name, arguments)) for name, *arguments in calls), also=also, shown=shown)
def opened(path, flags=os.O_RDONLY):
    os.close(os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)); return path
def opened_if_there(path, flags):
    """A device of the host may go between listing and opening: nothing is left then that could be opened."""
    try: return opened(path, flags)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV) and not os.path.lexists(path): raise Gone(path)
        raise
def mounts():
    return open('/proc/self/mountinfo').read()
def status(pid='self'):
    return dict(line.split(':\t', 1) for line in open(f'/proc/{pid}/status').read().splitlines() if ':\t' in line)
AGENT = os.stat('/data/chunks').st_uid
def agents():
    """The node's first process and its agent."""
    return [int(pid) for pid in os.listdir('/proc') if pid.isdigit() and status(pid)['Uid'].split()[0] == str(AGENT)]
def agent_itself():
    return [pid for pid in agents() if pid != 1][0]
def become(user, keeps=()):
    """Another user; capabilities in keeps stay."""
    if keeps: _libc.prctl(8, 1, 0, 0, 0)
    os.setgroups([]); os.setresgid(user, user, user); os.setresuid(user, user, user)
    _libc.prctl(4, 1, 0, 0, 0)
    if keeps:
        bits = sum(1 << bit for bit in keeps)
        if call('capset', (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(bits, bits, 0, 0, 0, 0)) < 0: raise RuntimeError('capset')
def child(work):
    """What work returns in a child."""
    back, forth = os.pipe()
    pid = os.fork()
    if pid == 0:
        try: answer = {'said': work()}
        except Through as through: answer = {'through': str(through)}
        except BaseException as failed: answer = {'failed': repr(failed)}
        os.write(forth, json.dumps(answer).encode()); os._exit(0)
    os.close(forth)
    with os.fdopen(back) as file: text = file.read()
    ended = os.waitpid(pid, 0)[1]
    answer = json.loads(text or json.dumps({'said': f'killed by signal {os.WTERMSIG(ended)}' if os.WIFSIGNALED(ended) else 'ended'}))
    if 'through' in answer: raise Through(answer['through'])
    if 'failed' in answer: raise RuntimeError(answer['failed'])
    return answer['said']
def as_agent(work, keeps=()):
    def whole():
        become(AGENT, keeps); return work()
    return child(whole)
`}`;
