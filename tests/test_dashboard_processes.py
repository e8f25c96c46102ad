"""dashboard/processes.py: a signal ends all processes, whenever it comes."""

import subprocess
import sys

# Told to end by the fork itself: when the new process is there and the call that made it has not returned yet.
WHILE_ONE_BEGINS = """
import os, signal, time
from dashboard import processes

fork, made = os.fork, []

def told():
    pid = fork()
    if pid:
        made.append(pid)
    if len(made) == 2 and pid:
        os.kill(os.getpid(), signal.SIGTERM)
    return pid

os.fork = told
print(processes.serve_in(2, lambda first: time.sleep(60)))
"""


def test_a_process_that_just_begins_is_ended_with_the_others() -> None:
    done = subprocess.run([sys.executable, "-c", WHILE_ONE_BEGINS], capture_output=True, text=True, timeout=30)
    assert (done.stdout, done.stderr) == ("0\n", "")
