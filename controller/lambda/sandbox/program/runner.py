"""The interpreter's side: waits for its one invocation, runs it as `python3 main.py` would, and ends.

The payload: 4 bytes of length, a JSON object, then the bytes of each file; whatever follows is the code's standard input.
The event in it is text that the code's side parses alone: whoever parsed it before would have changed its numbers.
Modules that code commonly uses are loaded here, in the template, so that every sandbox has them at no cost.
"""

import atexit
import builtins
import io
import json
import linecache
import os
import random
import sys
import threading
import traceback
import types

from sandbox import RESULT

FILE_NAME = "main.py"
ENVIRONMENT = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": "/tmp",
    "USER": "sandbox",
    "LANG": "C.UTF-8",
    "PYTHONDONTWRITEBYTECODE": "1",
}


def serve():
    """Never returns."""
    builtins.exit, builtins.quit = _Leave("exit"), _Leave("quit")
    code = 70
    try:
        os.environ.clear()
        os.environ.update(ENVIRONMENT)
        random.seed()
        _open_streams()
        os.write(1, b"r")
        payload = json.loads(_read(int.from_bytes(_read(4), "big")))
        for file in payload["files"]:
            _store(file["path"], file["size"])
        code = _run(payload)
    except SystemExit:
        pass
    finally:
        os._exit(code)


def _read(size):
    parts = []
    while size > 0:
        part = os.read(0, min(size, 1 << 20))
        if part == b"":
            raise SystemExit
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _store(path, size):
    place = f"/mnt{path}"
    os.makedirs(os.path.dirname(place), exist_ok=True)
    with open(place, "wb") as file:
        while size > 0:
            part = _read(min(size, 1 << 20))
            file.write(part)
            size -= len(part)
    os.chmod(place, 0o444)


def _open_streams():
    sys.stdin = io.TextIOWrapper(io.BufferedReader(io.FileIO(0, "r", closefd=False)), "utf-8", "surrogateescape")
    # By lines, so that whoever watches sees what is printed when it is printed.
    out = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    sys.stdout = io.TextIOWrapper(out, "utf-8", "surrogateescape", line_buffering=True)
    errors = io.BufferedWriter(io.FileIO(2, "w", closefd=False))
    sys.stderr = io.TextIOWrapper(errors, "utf-8", "backslashreplace", line_buffering=True)
    sys.__stdin__, sys.__stdout__, sys.__stderr__ = sys.stdin, sys.stdout, sys.stderr


def _run(payload):
    # As bytes: a byte order mark, a line that names an encoding and a zero byte mean to the compiler what they do in a file.
    source = payload["code"].encode()
    text = payload["code"].removeprefix("\ufeff")
    main = types.ModuleType("__main__")
    event = json.loads(payload["event"]) if "event" in payload else None
    main.__dict__.update(__builtins__=builtins, __file__=FILE_NAME, event=event)
    sys.modules["__main__"] = main
    sys.argv = [FILE_NAME]
    sys.path[:] = ["/tmp", *(path for path in sys.path if path != "/mnt")]
    # Tracebacks show the lines of code that no file has.
    linecache.cache[FILE_NAME] = (len(text), None, text.splitlines(True), FILE_NAME)
    code = 0
    if "event" not in payload:
        # No handler will be called, so that code has no use for it.
        os.close(RESULT)
    try:
        exec(_compile(source), main.__dict__)
        if "event" in payload and "handler" in main.__dict__:
            code = _call(main.__dict__["handler"], event)
    except SystemExit as end:
        code = _exit_code(end)
    except BaseException as error:
        _show(error)
        code = 1
    return _finish(code)


def _compile(source):
    try:
        return compile(source, FILE_NAME, "exec", dont_inherit=True)
    except ValueError as error:
        # Before Python 3.12 compile() raises ValueError for a zero byte; running a file with one is a SyntaxError.
        if isinstance(error, (SyntaxError, UnicodeError)):
            raise
        raise SyntaxError(str(error)) from None


class _Leave:
    """exit and quit: the interpreter has them from the module site, which it does without here."""

    def __init__(self, name):
        self.name = name

    def __repr__(self):
        return f"Use {self.name}() or Ctrl-D (i.e. EOF) to exit"

    def __call__(self, code=None):
        try:
            sys.stdin.close()
        except BaseException:
            pass
        raise SystemExit(code)


def _call(handler, event):
    if not callable(handler):
        _say(f"handler must be a function of one argument, the event; it is of type {type(handler).__name__}")
        return 1
    result = handler(event)
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        _say(f"what handler returned can't be written as JSON: {error}")
        return 1
    try:
        _deliver(text)
    except OSError as error:
        _say(f"what handler returned can't be delivered: {error}")
        return 1
    return 0


def _deliver(text):
    """One line of ASCII; the controller takes nothing else, and nothing without the end of its line."""
    left = text.encode() + b"\n"
    while left:
        left = left[os.write(RESULT, left) :]


def _exit_code(end):
    if end.code is None:
        return 0
    if isinstance(end.code, int):
        return end.code & 0xFF
    _say(end.code)
    return 1


def _say(text):
    """To whoever still listens: the code may have closed or replaced its streams."""
    try:
        print(text, file=sys.stderr)
    except BaseException:
        pass


def _show(error):
    """As the interpreter does, without the frames of this file."""
    place = error.__traceback__
    while place is not None and place.tb_frame.f_code.co_filename == __file__:
        place = place.tb_next
    error = error.with_traceback(place)
    # The one written in C looks for the code in a file, and there is none.
    show = traceback.print_exception if sys.excepthook is sys.__excepthook__ else sys.excepthook
    for attempt in (show, traceback.print_exception):
        try:
            attempt(type(error), error, place)
            return
        except BaseException:
            pass  # A hook of the code's that fails, or no stream to write to: the exit code still tells.


def _finish(code):
    """What the interpreter does at its end, without taking it apart: the sandbox is thrown away anyway."""
    try:
        threading._shutdown()
        atexit._run_exitfuncs()
    except BaseException as error:
        _show(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            code = code or 120
    return code
