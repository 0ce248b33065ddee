"""What tests run on workers; a module of its own, because workers import it, again and again where they die."""

import os
import signal
import time


def fail(error, _item):
    raise error


def die(_item):
    time.sleep(0.3)  # nobody runs out of memory at once
    os.kill(os.getpid(), signal.SIGKILL)


def die_at(deadly, item):
    if item in deadly:
        die(item)
    return item


def mark():
    """Warm a process up."""
    os.environ["WARM"] = "yes"


def who(item, seconds):
    time.sleep(seconds)  # a block's work
    return os.getpid(), os.environ.get("WARM")
