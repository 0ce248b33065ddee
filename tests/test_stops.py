"""A stop reaches the command wherever Python happens to be."""

from __future__ import annotations

import subprocess
import sys

STOPPED_IN_A_CALLBACK = """
import os, signal, sys, weakref
from importlib import import_module
command_line = import_module("mrdist.cli.main")

class Thing: pass

def cleaned(_):
    os.kill(os.getpid(), signal.SIGTERM)
    for _ in range(10): pass  # the handler runs here, and what it raises goes no further
    print("cleaned")

def work(**_):
    thing = Thing()
    reference = weakref.ref(thing, cleaned)
    del thing
    print("still here", flush=True)
    while True: pass

command_line.commands = work
command_line.main()
"""


def test_a_stop_in_a_callback_of_the_garbage_collector_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_IN_A_CALLBACK], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stdout == "still here\n"
    assert done.returncode == 130
    assert done.stderr == "Stopped; run the command again.\n"
