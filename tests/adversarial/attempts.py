"""What code in a worker might try, each in a few lines, with the layers that hold it.

``code`` prints HARM where it got what it wanted. It is run with every layer; with each layer of
``held_by`` alone, which must be enough; and with all layers but those of ``held_by`` (and
``perhaps``, which hold it too for some users or kernels): then it must succeed, because an attempt
that fails anyway proves nothing. ``Lacks`` says that this kernel or user has nothing to attack.

``W`` is what is there to be attacked (:mod:`.world`), ``raw`` a system call by its name.
"""

from __future__ import annotations

from typing import NamedTuple

PRELUDE = """
import contextlib, ctypes, errno, fcntl, mmap, os, resource, signal, socket, struct, sys, time
class Lacks(Exception): pass
libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
arm = os.uname().machine == 'aarch64'
def raw(name, *arguments):
    number = NUMBERS[name][arm] if isinstance(name, str) else name
    if number is None: raise Lacks(f'no {name} on this architecture')
    result = libc.syscall(ctypes.c_long(number), *[
        ctypes.c_long(each) if isinstance(each, int) else each for each in arguments])
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
def harm(got=True):
    if got: print('HARM')
def child_harms(pid):
    if pid == 0:
        os.write(1, b'HARM')
        os._exit(0)
    os.waitpid(pid, 0)
def root_only():
    if os.geteuid(): raise Lacks('only root has this right')
"""

NUMBERS = {
    "bpf": (321, 280), "add_key": (248, 217), "keyctl": (250, 219), "perf_event_open": (298, 241),
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "userfaultfd": (323, 282),
    "io_uring_setup": (425, 425), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "mq_unlink": (241, 181), "personality": (135, 92),
    "clone": (56, 220), "clone3": (435, 435),
    "vfork": (58, None), "pidfd_open": (434, 434), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "process_vm_readv": (310, 270), "ptrace": (101, 117),
    "process_vm_writev": (311, 271), "rt_sigqueueinfo": (129, 138), "tgkill": (234, 131),
    "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265), "chroot": (161, 51),
    "mount": (165, 40), "sethostname": (170, 161), "inotify_init1": (294, 26), "syslog": (103, 116),
    "inotify_add_watch": (254, 27), "modify_ldt": (154, None), "iopl": (172, None),
    "ioprio_set": (251, 30), "openat2": (437, 437), "renameat2": (316, 276), "splice": (275, 76),
    "fchmodat": (268, 53), "timerfd_create": (283, 85), "kcmp": (312, 272), "unshare": (272, 97),
    "seccomp": (317, 277), "truncate": (76, 45), "setns": (308, 268), "fanotify_init": (300, 262),
}  # fmt: skip


class Attempt(NamedTuple):
    """One thing that code might try."""

    group: str
    name: str
    held_by: str
    code: str
    perhaps: str = ""
    memory: int = 4 << 30

    @property
    def layers(self) -> tuple[str, ...]:
        """The layers of which each alone holds it."""
        return tuple(self.held_by.split())


def _attempts(group: str, *rows: tuple[str, str, str] | tuple[str, str, str, str]) -> list[Attempt]:
    return [Attempt(group, *row) for row in rows]


READING = _attempts(
    "reading files",
    ("/etc/passwd", "landlock", "harm(open('/etc/passwd').read())"),
    ("a key in the user's home", "landlock", "harm(open(W.home + '/.ssh/id').read())"),
    ("a folder's names", "landlock", "harm(os.listdir(W.home))"),
    ("another run's data", "landlock", "harm(open(W.other_run + '/data').read())"),
    ("another run's journal", "landlock", "harm(open(W.other_run + '/journal.jsonl').read())"),
    ("an ignored .env beside the data", "landlock", "harm(open(W.data + '/.env').read())"),
    ("by the C library's open", "landlock", "harm(libc.open(b'/etc/passwd', 0) >= 0)"),
    ("through /proc/self/root", "landlock", "harm(open('/proc/self/root/etc/passwd').read())"),
    (
        "by .. from a folder that may be read",
        "landlock",
        "at = os.open(os.path.dirname(os.__file__), os.O_RDONLY)\n"
        "harm(os.open('../' * 20 + 'etc/passwd', os.O_RDONLY, dir_fd=at))",
    ),
    (
        "by a descriptor that is only a path",
        "landlock seccomp",
        "at = os.open('/etc/passwd', os.O_PATH)\nharm(open(f'/proc/self/fd/{at}').read())",
    ),
    (
        "by openat2, whose flags lie in memory",
        "landlock seccomp",
        "harm(raw('openat2', -100, b'/etc/passwd', struct.pack('QQQ', 0, 0, 0), 24) >= 0)",
    ),
    (
        "by a file handle",
        "landlock seccomp",
        "root_only()\n"
        "handle = ctypes.create_string_buffer(struct.pack('Ii', 128, 0), 136)\n"
        "mount = ctypes.c_int()\n"
        "path = W.home.encode() + b'/.ssh/id'\n"
        "raw('name_to_handle_at', -100, path, handle, ctypes.byref(mount), 0)\n"
        "at = os.open('/usr/lib', os.O_RDONLY)\n"
        "harm(raw('open_by_handle_at', at, handle, 0) >= 0)",
        "capabilities",
    ),
    ("where a link leads", "seccomp", "harm(os.readlink(W.home + '/link'))"),
    ("an extended attribute", "seccomp", "harm(os.getxattr(W.victim, 'user.note'))"),
    (
        "a module from the user's home",
        "landlock",
        "sys.path.insert(0, W.home)\nimport secret_module\nharm(secret_module.KEY)",
    ),
    (
        "a database",
        "landlock",
        "import sqlite3\nharm(sqlite3.connect(f'file:{W.home}/some.db?immutable=1', uri=True)"
        ".execute('select * from t').fetchall())",
    ),
    (
        "watching what others do to files",
        "seccomp",
        "at = raw('inotify_init1', 0)\n"
        "harm(raw('inotify_add_watch', at, W.home.encode(), 0xfff) >= 0)",
    ),
    (
        "its own environment by /proc",
        "landlock",
        "harm(open('/proc/self/environ').read())",
        "undumpable",
    ),
    ("the names of this machine's users' processes", "landlock", "harm(os.listdir('/proc'))"),
    ("kernel settings", "landlock", "harm(open('/proc/sys/kernel/random/boot_id').read())"),
)

WRITING = _attempts(
    "writing files",
    ("a new file", "landlock seccomp", "open(W.room + '/new', 'x'); harm()"),
    (
        "more to a file",
        "landlock seccomp rlimits",
        "file = open(W.victim, 'a'); file.write('x'); file.flush(); harm()",
    ),
    ("an unnamed file", "landlock seccomp", "os.open(W.room, os.O_TMPFILE | os.O_RDWR); harm()"),
    (
        "truncating while opening to read",
        "landlock seccomp",
        "os.open(W.victim, os.O_RDONLY | os.O_TRUNC); harm()",
    ),
    ("truncate", "landlock seccomp", "os.truncate(W.victim, 3); harm()"),
    ("chmod", "seccomp", "os.chmod(W.victim, 0o600); harm()"),
    ("fchmodat", "seccomp", "raw('fchmodat', -100, W.victim.encode(), 0o600); harm()"),
    ("chown", "seccomp", "os.chown(W.victim, os.getuid(), os.getgid()); harm()"),
    ("utime", "seccomp", "os.utime(W.victim, (1, 1)); harm()"),
    ("setting an attribute", "seccomp", "os.setxattr(W.victim, 'user.x', b'1'); harm()"),
    ("removing an attribute", "seccomp", "os.removexattr(W.victim, 'user.note'); harm()"),
    ("unlink", "landlock seccomp", "os.unlink(W.victim); harm()"),
    ("rename", "landlock seccomp", "os.rename(W.victim, W.victim + '2'); harm()"),
    ("mkdir", "landlock seccomp", "os.mkdir(W.room + '/folder'); harm()"),
    ("rmdir", "landlock seccomp", "os.rmdir(W.room + '/empty'); harm()"),
    ("a symbolic link", "landlock seccomp", "os.symlink('/', W.room + '/link'); harm()"),
    ("a hard link", "landlock seccomp", "os.link(W.victim, W.room + '/hard'); harm()"),
    ("a named pipe", "landlock seccomp", "os.mkfifo(W.room + '/pipe'); harm()"),
    (
        "a lock on a file that others use",
        "seccomp",
        "fcntl.flock(open(os.__file__), fcntl.LOCK_SH); harm()",
    ),
    (
        "a record lock",
        "seccomp",
        "fcntl.lockf(open(os.__file__), fcntl.LOCK_SH); harm()",
    ),
    (
        "a database",
        "landlock seccomp rlimits",
        "import sqlite3\n"
        "base = sqlite3.connect(W.room + '/new.db')\n"
        "base.execute('create table t (a)'); base.commit(); harm()",
    ),
    (
        "by a shared mapping",
        "landlock seccomp",
        "file = open(W.victim, 'r+b')\n"
        "mapped = mmap.mmap(file.fileno(), 0); mapped[0:1] = b'X'; mapped.flush(); harm()",
    ),
    (
        "its own memory by /proc",
        "landlock seccomp",
        "open('/proc/self/mem', 'r+b'); harm()",
        "undumpable",
    ),
)

_SIGNAL_BY_OWNER = (
    "a, b = socket.socketpair()\n"
    "{own}\n"
    "fcntl.fcntl(a, fcntl.F_SETFL, fcntl.fcntl(a, fcntl.F_GETFL) | os.O_ASYNC)\n"
    "b.send(b'x'); time.sleep(0.2); harm(os.path.exists(W.signalled))"
)
_VICTIM_BUFFER = (
    "mine = ctypes.create_string_buffer(16)\n"
    "here = struct.pack('QQ', ctypes.addressof(mine), 16)\n"
    "there = struct.pack('QQ', W.address, 16)\n"
)

PROCESSES = _attempts(
    "other processes",
    (
        "the host's environment",
        "landlock",
        "harm(open(f'/proc/{W.host}/environ').read())",
        "capabilities",
    ),
    (
        "the host's memory",
        "landlock",
        "harm(open(f'/proc/{W.host}/mem', 'rb'))",
        "capabilities",
    ),
    (
        "a sibling's environment",
        "landlock",
        "harm(open(f'/proc/{W.pid}/environ').read())",
        "capabilities",
    ),
    (
        "a sibling's memory",
        "landlock",
        "memory = open(f'/proc/{W.pid}/mem', 'rb', 0); memory.seek(W.address)\n"
        "harm(memory.read(6) == b'secret')",
        "capabilities",
    ),
    (
        "process_vm_readv",
        "landlock seccomp",
        _VICTIM_BUFFER + "raw('process_vm_readv', W.pid, here, 1, there, 1, 0)\n"
        "harm(mine.raw.startswith(b'secret'))",
        "capabilities",
    ),
    (
        "process_vm_writev",
        "landlock seccomp",
        _VICTIM_BUFFER + "mine.raw = b'secret'.ljust(16, b'.')\n"
        "harm(raw('process_vm_writev', W.pid, here, 1, there, 1, 0) == 16)",
        "capabilities",
    ),
    ("ptrace", "landlock seccomp", "raw('ptrace', 0x4206, W.pid, 0, 0); harm()", "capabilities"),
    ("a pidfd", "seccomp", "harm(raw('pidfd_open', W.pid, 0) >= 0)"),
    (
        "a descriptor out of a sibling",
        "landlock seccomp",
        "at = raw('pidfd_open', W.pid, 0); harm(raw('pidfd_getfd', at, 0, 0) >= 0)",
        "capabilities",
    ),
    (
        "a signal by pidfd",
        "landlock seccomp",
        "at = raw('pidfd_open', W.pid, 0); raw('pidfd_send_signal', at, 23, 0, 0); harm()",
    ),
    (
        "the host's descriptors",
        "landlock",
        "harm(os.listdir(f'/proc/{W.host}/fd'))",
        "capabilities",
    ),
    (
        "a descriptor out of the host",
        "landlock seccomp",
        "at = raw('pidfd_open', W.host, 0); harm(raw('pidfd_getfd', at, 0, 0) >= 0)",
        "capabilities",
    ),
    ("a signal to the parent", "landlock seccomp", "os.kill(os.getppid(), signal.SIGURG); harm()"),
    ("a signal to the host", "landlock seccomp", "os.kill(W.host, signal.SIGURG); harm()"),
    ("a signal to all that it may", "seccomp", "os.kill(-1, 0); harm()"),
    (
        "a signal to its own group",
        "seccomp",
        "signal.signal(signal.SIGURG, lambda *_: None); os.killpg(0, signal.SIGURG); harm()",
    ),
    ("a signal to a sibling", "landlock seccomp", "os.kill(W.pid, signal.SIGURG); harm()"),
    (
        "a signal to a sibling's thread",
        "landlock seccomp",
        "raw('tgkill', W.pid, W.pid, 23); harm()",
    ),
    (
        "a signal with a value",
        "landlock seccomp",
        "info = struct.pack('iiiiiI', 23, 0, -1, 0, os.getpid(), os.getuid()).ljust(128, b'\\0')\n"
        "raw('rt_sigqueueinfo', W.pid, 23, info); harm()",
    ),
    ("a signal to a group", "landlock seccomp", "os.killpg(W.pid, signal.SIGURG); harm()"),
    (
        "a signal by F_SETOWN",
        "landlock seccomp",
        _SIGNAL_BY_OWNER.format(
            own="fcntl.fcntl(a, fcntl.F_SETOWN, W.pid)\nfcntl.fcntl(a, 10, signal.SIGUSR1)"
        ),
    ),
    (
        "a signal by F_SETOWN_EX",
        "landlock seccomp",
        _SIGNAL_BY_OWNER.format(
            own="fcntl.fcntl(a, 15, struct.pack('ii', 1, W.pid))\n"
            "fcntl.fcntl(a, 10, signal.SIGUSR1)"
        ),
    ),
    (
        "a signal by FIOSETOWN",
        "landlock seccomp",
        _SIGNAL_BY_OWNER.format(
            own="fcntl.ioctl(a, 0x8901, struct.pack('i', W.pid))\n"
            "fcntl.fcntl(a, 10, signal.SIGUSR1)"
        ),
    ),
    (
        "a signal to the host by F_SETOWN",
        "landlock seccomp",
        _SIGNAL_BY_OWNER.format(
            own="fcntl.fcntl(a, fcntl.F_SETOWN, W.host)\nfcntl.fcntl(a, 10, signal.SIGURG)"
        ).replace("W.signalled", "W.host_signalled"),
    ),
    (
        "a signal to the host by F_SETSIG and a lease",
        "landlock seccomp",
        "at = os.open(W.victim, os.O_RDONLY)\n"
        "fcntl.fcntl(at, fcntl.F_SETOWN, W.host); fcntl.fcntl(at, 10, signal.SIGURG)\n"
        "fcntl.fcntl(at, fcntl.F_SETLEASE, fcntl.F_RDLCK)\n"
        "with contextlib.suppress(OSError): os.open(W.victim, os.O_WRONLY | os.O_NONBLOCK)\n"
        "time.sleep(0.2); harm(os.path.exists(W.host_signalled))",
    ),
    (
        "the priority of a sibling",
        "seccomp",
        "now = os.getpriority(os.PRIO_PROCESS, W.pid)\n"
        "os.setpriority(os.PRIO_PROCESS, W.pid, now); harm()",
        "capabilities",
    ),
    (
        "the processors of a sibling",
        "seccomp",
        "os.sched_setaffinity(W.pid, os.sched_getaffinity(W.pid)); harm()",
        "capabilities",
    ),
    (
        "the limits of a sibling",
        "seccomp",
        "resource.prlimit(W.pid, resource.RLIMIT_CORE, (0, 0)); harm()",
    ),
    ("outliving the host", "seccomp", "harm(libc.prctl(1, 0, 0, 0, 0) == 0)"),
    ("becoming readable to its siblings", "seccomp", "harm(libc.prctl(4, 1, 0, 0, 0) == 0)"),
    (
        "lifting its own limits",
        "capabilities seccomp",
        "root_only()\nresource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        "try: resource.setrlimit(resource.RLIMIT_CORE, (1, 1))\n"
        "except ValueError: raise Lacks('this root may not raise limits')\nharm()",
    ),
)

NETWORK = _attempts(
    "the network",
    (
        "TCP to a server",
        "landlock seccomp",
        "socket.create_connection(('127.0.0.1', W.tcp), 2); harm()",
    ),
    ("a TCP server", "landlock seccomp", "s = socket.socket(); s.bind(('127.0.0.1', 0)); harm()"),
    ("a TCP server without bind", "seccomp", "s = socket.socket(); s.listen(); harm()"),
    (
        "MPTCP",
        "seccomp",
        "try: s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262)\n"
        "except OSError as error:\n"
        "    if error.errno == errno.EPROTONOSUPPORT: raise Lacks('no MPTCP')\n"
        "    raise\n"
        "s.connect(('127.0.0.1', W.tcp)); harm()",
    ),
    (
        "UDP",
        "seccomp",
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "harm(s.sendto(b'data', ('127.0.0.1', W.udp)))",
    ),
    (
        "a question to a name server",
        "seccomp",
        "question = bytes.fromhex('12340100000100000000000001780378797a0000010001')\n"
        "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.connect(('127.0.0.1', W.udp))\n"
        "harm(s.send(question))",
    ),
    (
        "raw packets",
        "capabilities seccomp",
        "root_only()\nsocket.socket(socket.AF_INET, socket.SOCK_RAW, 1); harm()",
    ),
    (
        "packets of the link",
        "capabilities seccomp",
        "root_only()\nsocket.socket(17, socket.SOCK_RAW, 0); harm()",
    ),
    ("netlink", "seccomp", "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0); harm()"),
    (
        "a unix socket by path",
        "seccomp",
        "socket.socket(socket.AF_UNIX).connect(W.unix_stream); harm()",
    ),
    (
        "an abstract unix socket",
        "landlock seccomp",
        "socket.socket(socket.AF_UNIX).connect('\\0' + W.abstract); harm()",
    ),
    (
        "a unix datagram",
        "seccomp",
        "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "harm(s.sendto(b'data', W.unix_datagram))",
    ),
    (
        "a unix datagram out of a pair",
        "seccomp",
        "a, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "harm(a.sendto(b'data', W.unix_datagram))",
    ),
    (
        "a sequenced packet out of a pair",
        "seccomp",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET); harm()",
    ),
    (
        "the host of this virtual machine",
        "seccomp",
        "try: socket.socket(40, socket.SOCK_STREAM)\n"
        "except OSError as error:\n"
        "    if error.errno == errno.EAFNOSUPPORT: raise Lacks('no vsock')\n"
        "    raise\n"
        "harm()",
    ),
    (
        "the kernel's ciphers",
        "seccomp",
        "try: socket.socket(38, socket.SOCK_SEQPACKET)\n"
        "except OSError as error:\n"
        "    if error.errno == errno.EAFNOSUPPORT: raise Lacks('no AF_ALG')\n"
        "    raise\n"
        "harm()",
    ),
    (
        "descriptors hidden in a pair of its own, of which a user has so many",
        "seccomp",
        "a, b = socket.socketpair()\nharm(socket.send_fds(a, [b'x'], [0] * 100))",
    ),
    (
        "a descriptor to the host",
        "seccomp",
        "import gc\n"
        "to = next(each for each in gc.get_objects() if type(each).__name__ == 'Channel')._socket\n"
        'body = b\'{"t":"out","text":""}\'\n'
        "harm(socket.send_fds(to, [len(body).to_bytes(4, 'big') + body], [0]))",
    ),
    (
        "data out of band",
        "seccomp",
        "a, b = socket.socketpair()\n"
        "try: harm(a.send(b'x', socket.MSG_OOB))\n"
        "except OSError as error:\n"
        "    if error.errno == errno.EOPNOTSUPP: raise Lacks('no MSG_OOB on unix sockets')\n"
        "    raise",
    ),
)

STARTING = _attempts(
    "starting processes",
    ("fork", "seccomp", "child_harms(os.fork())"),
    ("vfork", "seccomp", "child_harms(raw('vfork'))"),
    ("clone", "seccomp", "child_harms(raw('clone', 17, 0, 0, 0, 0))"),
    (
        "clone3",
        "seccomp",
        "child_harms(raw('clone3', struct.pack('8Q', 0, 0, 0, 0, 17, 0, 0, 0), 64))",
    ),
    ("clone into namespaces", "seccomp", "child_harms(raw('clone', 0x10000011, 0, 0, 0, 0))"),
    ("execve", "landlock seccomp", "os.execv('/bin/echo', ['echo', 'HARM'])"),
    (
        "posix_spawn",
        "landlock seccomp",
        "os.waitpid(os.posix_spawn('/bin/echo', ['echo', 'HARM'], {}), 0)",
    ),
    (
        "subprocess",
        "landlock seccomp",
        "import subprocess\nprint(subprocess.run(['echo', 'HARM'], capture_output=True).stdout)",
    ),
    ("a shell", "landlock seccomp", "os.system('echo HARM')"),
    (
        "multiprocessing",
        "seccomp",
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(target=os.write, args=(1, b'HARM'))\n"
        "child.start(); child.join()",
    ),
)

_MACHINE_CODE = (
    "import platform\n"
    "if platform.machine() != 'x86_64': raise Lacks('another architecture')\n"
    "libc.mmap.restype = ctypes.c_void_p\n"
    "at = libc.mmap(None, 4096, 3, 0x22, -1, 0)\n"
    "code = bytes.fromhex('b814000000' 'cd80' 'c3')\n"  # mov eax, 20 (getpid); int 0x80; ret
    "ctypes.memmove(at, code, len(code))\n"
    "if libc.mprotect(ctypes.c_void_p(at), 4096, 5): raise OSError\n"
    "got = ctypes.CFUNCTYPE(ctypes.c_int)(at)()\n"
    "if got < 0: raise Lacks('no 32-bit calls')\n"
    "harm(got == os.getpid())"
)


def _lacking(name: str, call: str) -> tuple[str, str, str]:
    code = (
        f"try: got = {call}\n"
        "except OSError as error:\n"
        "    if error.errno in (errno.ENOSYS, errno.EPERM, errno.EACCES, errno.EOPNOTSUPP):\n"
        "        raise Lacks(f'the kernel says {error.strerror}')\n"
        "    raise\n"
        "harm(got >= 0)"
    )
    return name, "seccomp", code


KERNEL = _attempts(
    "more of the kernel",
    _lacking("io_uring", "raw('io_uring_setup', 4, bytes(120))"),
    _lacking("userfaultfd", "raw('userfaultfd', 1)"),
    (
        *_lacking("bpf", "raw('bpf', 0, struct.pack('IIII', 2, 4, 8, 1).ljust(72, b'\\0'), 72)"),
        "capabilities",
    ),
    _lacking("add_key", "raw('add_key', b'user', b'abyme-test', b'x', 1, -1)"),
    _lacking("keyctl", "raw('keyctl', 0, -1, 1)"),
    (
        *_lacking(
            "perf_event_open",
            "raw('perf_event_open', struct.pack('IIQ', 1, 112, 0).ljust(40, b'\\0') + "
            "struct.pack('Q', 0x60).ljust(72, b'\\0'), 0, -1, -1, 0)",
        ),
        "capabilities",
    ),
    _lacking("memfd_create", "raw('memfd_create', b'x', 0)"),
    _lacking("memfd_secret", "raw('memfd_secret', 0)"),
    (
        "memory both writable and executable",
        "seccomp",
        "mmap.mmap(-1, 4096, flags=0x22, prot=7); harm()",
    ),
    (
        "making memory both",
        "seccomp",
        "libc.mmap.restype = ctypes.c_void_p\nat = libc.mmap(None, 4096, 3, 0x22, -1, 0)\n"
        "harm(libc.mprotect(ctypes.c_void_p(at), 4096, 7) == 0)",
    ),
    (
        "SysV shared memory",
        "seccomp",
        "at = raw('shmget', 0, 4096, 0o1600); libc.shmctl(at, 0, None); harm(at >= 0)",
    ),
    (
        "SysV messages",
        "seccomp",
        "at = raw('msgget', 0, 0o1600); libc.msgctl(at, 0, None); harm(at >= 0)",
    ),
    (
        "SysV semaphores",
        "seccomp",
        "at = raw('semget', 0, 1, 0o1600); libc.semctl(at, 0, 0); harm(at >= 0)",
    ),
    (
        "POSIX messages",
        "landlock seccomp",
        "at = raw('mq_open', W.queue.encode(), 0o102, 0o600, 0)\n"
        "raw('mq_unlink', W.queue.encode()); harm(at >= 0)",
    ),
    (
        "POSIX shared memory",
        "landlock seccomp",
        "from _posixshmem import shm_open, shm_unlink\n"
        "at = shm_open('/' + W.queue, os.O_CREAT | os.O_RDWR, mode=0o600)\n"
        "shm_unlink('/' + W.queue); harm()",
    ),
    (
        "POSIX semaphores",
        "landlock seccomp",
        "import multiprocessing\nmultiprocessing.Lock(); harm()",
        "rlimits",
    ),
    ("personality", "seccomp", "harm(raw('personality', 0x0400000) >= 0)"),
    ("chroot", "capabilities seccomp", "root_only()\nraw('chroot', W.room.encode()); harm()"),
    (
        "mount",
        "capabilities landlock seccomp",
        "root_only()\nraw('mount', b'none', W.room.encode() + b'/empty', b'tmpfs', 0, b'')\n"
        "libc.umount(W.room.encode() + b'/empty'); harm()",
    ),
    (
        "the machine's name",
        "capabilities seccomp",
        "root_only()\nname = os.uname().nodename.encode()\n"
        "raw('sethostname', name, len(name)); harm()",
    ),
    (
        "the kernel's log",
        "capabilities seccomp",
        "root_only()\nharm(raw('syslog', 3, ctypes.create_string_buffer(64), 64) >= 0)",
    ),
    (
        "ports of the machine",
        "capabilities seccomp",
        "root_only()\n"
        "try: raw('iopl', 3)\n"
        "except OSError as error:\n"
        "    if error.errno == errno.ENOSYS: raise Lacks('a kernel without iopl')\n"
        "    raise\n"
        "harm()",
    ),
    _lacking("its own segments", "raw('modify_ldt', 0, ctypes.create_string_buffer(64), 64)"),
    ("comparing processes", "seccomp", "harm(raw('kcmp', os.getpid(), os.getpid(), 1, 0, 0) >= 0)"),
    ("system calls of 32 bits", "seccomp", _MACHINE_CODE),
    (
        "system calls of x32",
        "seccomp",
        "if arm: raise Lacks('another architecture')\n"
        "try: harm(raw(0x40000000 + 39) == os.getpid())\n"
        "except OSError: raise Lacks('a kernel without x32')",
    ),
    ("a terminal of its own", "landlock seccomp", "os.openpty(); harm()"),
    (
        "a filter that answers its own calls",
        "seccomp",
        "harm(raw('seccomp', 2, 0, struct.pack('I', 0x7fc00000)) == 0)",
    ),
)

_MEGABYTES = 300 << 20

BOMBS = [
    Attempt("bombs", "processes", "seccomp",
            "for _ in range(8):\n"
            "    if os.fork() == 0: time.sleep(0.2); os._exit(0)\nharm()"),
    Attempt("bombs", "threads", "rlimits",
            "import threading\ngo = threading.Event()\n"
            "for _ in range(400): threading.Thread(target=go.wait, daemon=True).start()\n"
            "go.set(); harm()", memory=_MEGABYTES),
    Attempt("bombs", "descriptors", "rlimits",
            "held = [os.pipe() for _ in range(700)]\nharm()"),
    Attempt("bombs", "memory", "rlimits", "held = bytearray(400 << 20); harm()",
            memory=_MEGABYTES),
    Attempt("bombs", "memory in small pieces", "rlimits",
            "held = [bytes(1 << 16) for _ in range(6400)]; harm()", memory=_MEGABYTES),
    Attempt("bombs", "shared memory, which no limit counts", "seccomp",
            "held = mmap.mmap(-1, 400 << 20); harm()", memory=_MEGABYTES),
    Attempt("bombs", "a second stack, which no limit counts", "seccomp",
            "libc.mmap.restype = ctypes.c_void_p\n"
            "at = libc.mmap(None, ctypes.c_size_t(400 << 20), 3, 0x122, -1, 0)\n"
            "harm(at != ctypes.c_void_p(-1).value)", memory=_MEGABYTES),
    Attempt("bombs", "kernel memory in large pipes", "seccomp",
            "fcntl.fcntl(os.pipe()[1], 1031, 1 << 20); harm()"),
    Attempt("bombs", "disk", "landlock seccomp rlimits",
            "file = open(W.room + '/big', 'wb')\n"
            "for _ in range(16): file.write(bytes(1 << 20))\n"
            "file.flush(); harm()"),
]  # fmt: skip

ATTEMPTS = (*READING, *WRITING, *PROCESSES, *NETWORK, *STARTING, *KERNEL, *BOMBS)
