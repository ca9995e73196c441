"""The template process: an interpreter that has loaded what code commonly needs, runs none itself, and forks sandboxes.

It listens on a Unix socket that root alone reaches. Five connections make a sandbox: `control` (brings the specification,
tells the end), `input`, `output`, `errors` and `result`, which become the sandbox's streams. Each begins with one line of JSON.
A connection `ping` is answered, which shows that this process is not stuck. What is sent on `control` later, or its end, ends the sandbox. The launcher ends with its standard input, that is with the controller, and
every sandbox ends with the launcher.
"""

import gc
import json
import os
import select
import signal
import socket
import sys

sys.path.insert(0, "/mnt")
import kernel  # noqa: E402
import runner  # noqa: E402
import sandbox  # noqa: E402

# In the order of the descriptors that sandbox.py gives them.
STREAMS = ("input", "output", "errors", "result")
LONGEST_LINE = 16384


class Sandbox:
    """From its first connection to its reaped first process."""

    def __init__(self):
        self.connections = {}
        self.spec = None
        self.pid = 0
        self.descriptor = -1
        self.handshake = None


class Launcher:
    def __init__(self, filter_code):
        self.filter_code = filter_code
        self.last_capability = kernel.last_capability()
        self.own_pids = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.lifeline, self.lifeline_end = os.pipe()
        self.poll = select.epoll()
        self.handlers = {}
        self.sandboxes = {}
        self.forked = None
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind("/data/launcher.sock")
        self.listener.listen(512)

    def serve(self):
        """Returns in forks only, with what sandbox.become takes; nothing of other sandboxes is left in their memory."""
        self.watch(0, self.end)
        self.watch(self.listener.fileno(), self.accept)
        os.write(1, b"ready\n")
        gc.collect()
        gc.freeze()
        # Children enable it again; here a collection would only touch pages that they share.
        gc.disable()
        while True:
            for descriptor, _events in self.poll.poll():
                handler = self.handlers.get(descriptor)
                if handler is not None:
                    handler()
                if self.forked is not None:
                    return self.forked

    def watch(self, descriptor, handler):
        self.handlers[descriptor] = handler
        self.poll.register(descriptor, select.EPOLLIN)

    def unwatch(self, descriptor):
        if self.handlers.pop(descriptor, None) is not None:
            self.poll.unregister(descriptor)

    def end(self):
        if os.read(0, 1) == b"":
            os._exit(0)

    def accept(self):
        connection, _address = self.listener.accept()
        line = b""

        def receive():
            nonlocal line
            piece = connection.recv(LONGEST_LINE)
            line += piece
            if piece == b"" or len(line) > LONGEST_LINE:
                self.unwatch(connection.fileno())
                connection.close()
            elif line.endswith(b"\n"):
                self.unwatch(connection.fileno())
                self.introduce(connection, json.loads(line))

        self.watch(connection.fileno(), receive)

    def introduce(self, connection, greeting):
        identity, role = greeting["id"], greeting["role"]
        if role == "ping":
            connection.send(b"pong\n")
            connection.close()
            return
        one = self.sandboxes.setdefault(identity, Sandbox())
        one.connections[role] = connection
        if role == "input":
            # Or code could keep the controller busy with what it writes there, past the limit of its output.
            connection.shutdown(socket.SHUT_WR)
        if role == "control":
            one.spec = greeting["spec"]
            self.watch(connection.fileno(), lambda: self.hang_up(identity))
        if len(one.connections) == 1 + len(STREAMS):
            self.fork(identity, one)

    def fork(self, identity, one):
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        kernel.unshare(kernel.CLONE_NEWPID)
        pid = os.fork()
        if pid == 0:
            streams = [one.connections.pop(role).detach() for role in STREAMS]
            descriptors = (*streams, self.lifeline, theirs.detach())
            self.forked = (one.spec, descriptors, self.filter_code, self.last_capability)
            self.sandboxes.clear()
            self.handlers.clear()
            return
        # Back to our own, or the next unshare is refused.
        kernel.setns(self.own_pids, kernel.CLONE_NEWPID)
        theirs.close()
        one.pid = pid
        one.handshake = ours
        for role in STREAMS:
            one.connections.pop(role).close()
        one.descriptor = os.pidfd_open(pid)
        self.watch(one.descriptor, lambda: self.reap(identity))
        self.watch(ours.fileno(), lambda: self.map_user(one))

    def map_user(self, one):
        self.unwatch(one.handshake.fileno())
        if one.handshake.recv(1) == b"?":
            host = one.spec["uid"]
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{one.pid}/{name}", "w") as file:
                    file.write(f"{sandbox.UID} {host} 1\n")
            one.handshake.send(b"!")
        one.handshake.close()
        one.handshake = None

    def hang_up(self, identity):
        """Whatever comes, the sandbox is to end: `k` asks for it and waits for the report, an end of file does not wait."""
        one = self.sandboxes[identity]
        control = one.connections["control"]
        try:
            is_there = control.recv(16) != b""
        except OSError:
            is_there = False
        if not is_there:
            del one.connections["control"]
            self.unwatch(control.fileno())
            control.close()
        if one.pid != 0:
            os.kill(one.pid, signal.SIGKILL)
            return
        for role, other in one.connections.items():
            if role == "control":
                self.unwatch(other.fileno())
            other.close()
        del self.sandboxes[identity]

    def reap(self, identity):
        one = self.sandboxes.pop(identity)
        self.unwatch(one.descriptor)
        os.close(one.descriptor)
        _pid, status = os.waitpid(one.pid, 0)
        if one.handshake is not None:
            self.unwatch(one.handshake.fileno())
            one.handshake.close()
        control = one.connections.get("control")
        if control is None:
            return
        self.unwatch(control.fileno())
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)
        try:
            control.send(json.dumps({"exit_code": code}).encode() + b"\n")
        except OSError:
            pass  # Whoever asked has gone a moment ago.
        control.close()


def main():
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    size = int.from_bytes(os.read(0, 4), "big")
    filter_code = b""
    while len(filter_code) < size:
        filter_code += os.read(0, size - len(filter_code))
    kernel.unmount("/tmp")
    sandbox.become(*Launcher(filter_code).serve())
    runner.serve()


main()
