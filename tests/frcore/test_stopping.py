"""Signals: the first lets a step end, the second does not wait (FAULTS 7)."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from frcore.stopping import BrokenOff, StopRequest, exit_on_sigterm

POSIX = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
LOOP = """
import time
from frcore.stopping import StopRequest
with StopRequest() as stop:
    print("ready", flush=True)
    for _ in range(1200):
        time.sleep(0.05)
        if stop.requested and {leave}:
            break
print(stop.signal.name, stop.exit_code)
"""


def python(code: str) -> subprocess.Popen:
    """A Python process that has printed its first line."""
    process, _ = python_and_line(code)
    return process


def python_and_line(code: str) -> tuple[subprocess.Popen, str]:
    pipe = subprocess.PIPE
    process = subprocess.Popen([sys.executable, "-c", code], stdin=pipe, stdout=pipe, text=True)
    return process, process.stdout.readline()


@POSIX
@pytest.mark.parametrize(("name", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_fault_07_the_first_signal_lets_the_step_end(name, code):
    process = python(LOOP.format(leave="True"))
    process.send_signal(signal.Signals[name])
    assert process.communicate(timeout=10)[0].split() == [name, str(code)]
    assert process.returncode == 0


@POSIX
def test_the_end_of_the_parent_is_a_request_where_it_was_asked_for():
    starts = (
        "import os, subprocess, sys, time\n"
        "from frcore.stopping import living_with_us\n"
        "child = subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdout=1, bufsize=0,\n"
        "                         env={**os.environ, **(living_with_us() if {told} else {})})\n"
        "time.sleep(60)\n"
    )
    for told, given, said in (
        (True, "", "SIGTERM 143"),
        (False, "parent=os.getppid()", "SIGTERM 143"),
        (False, "", "nothing"),
    ):
        loop = LOOP.format(leave="True").replace("1200", "1200" if said != "nothing" else "20")
        loop = loop.replace("StopRequest()", f"StopRequest({given})").replace("time", "os, time", 1)
        loop = loop.replace("stop.signal.name", "stop.signal.name if stop.signal else 'nothing'")
        parent = subprocess.Popen(
            [sys.executable, "-c", starts.replace("{told}", str(told)), loop],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        assert parent.communicate(timeout=30)[0].startswith(said)


@POSIX
def test_fault_07_a_second_sigterm_exits_at_once_with_143():
    process = python(LOOP.format(leave="False"))
    process.terminate()
    time.sleep(0.2)  # two pending signals of a kind would be delivered as one
    process.terminate()
    process.communicate(timeout=10)
    assert process.returncode == 143


@POSIX
def test_fault_07_a_second_interrupt_raises_and_the_old_handlers_come_back():
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.raises(KeyboardInterrupt), StopRequest() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.requested and stop.signal == signal.SIGINT
        signal.raise_signal(signal.SIGINT)
    assert {number: signal.getsignal(number) for number in before} == before


def test_outside_the_main_thread_nothing_is_installed():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def work():
        with StopRequest() as stop:
            seen.append((stop.requested, signal.getsignal(signal.SIGTERM)))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(False, before)]


def test_sigterm_becomes_an_exception_for_a_while():
    before, cleaned = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(SystemExit) as caught, exit_on_sigterm():
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            cleaned.append(True)
    assert caught.value.code == 143 and cleaned == [True]
    assert signal.getsignal(signal.SIGTERM) == before

    def work():
        with exit_on_sigterm():
            cleaned.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert cleaned == [True, before]


@POSIX
def test_where_nothing_waits_the_first_signal_breaks_off():
    with StopRequest() as stop:
        with pytest.raises(BrokenOff), stop.at_once():
            signal.raise_signal(signal.SIGTERM)
        assert stop.ask() and stop.exit_code == 143
        with pytest.raises(BrokenOff), stop.at_once():  # it came just before
            pytest.fail("begun after a signal")
    with StopRequest() as stop:
        with stop.at_once():
            pass
        signal.raise_signal(signal.SIGTERM)  # outside it waits
        assert stop.requested


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="children are found in /proc")
def test_who_leaves_takes_along_what_it_has_started_and_waits_for_no_thread():
    process, line = python_and_line(
        "import subprocess, sys, threading\n"
        "from frcore.stopping import leave\n"
        'child = \'import subprocess, time; p = subprocess.Popen(["sleep", "60"], '
        "start_new_session=True); print(p.pid, flush=True); p.wait()'\n"
        "threading.Thread(target=lambda: subprocess.run([sys.executable, '-c', child])).start()\n"
        "sys.stdin.readline()\n"
        "print('flushed', end='')\n"
        "leave(143)\n"
    )
    grandchild = int(line)
    os.kill(grandchild, 0)
    assert process.communicate("\n", timeout=10)[0] == "flushed"
    assert process.returncode == 143
    deadline = time.monotonic() + 10
    while Path(f"/proc/{grandchild}/stat").exists() and time.monotonic() < deadline:
        time.sleep(0.05)  # its zombie, until somebody has seen it
    with pytest.raises(ProcessLookupError):
        os.kill(grandchild, 0)
