"""What processes of the GPU benchmark do in its tests: apart, so that a process loads no more than that."""

import os
import subprocess
import sys
import time

from benchmarks.gpu import rows
from benchmarks.gpu.rows import Row

SLEEP = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]


def send_and_die(send):
    send(Row("loss", "first", "someone", {"ms": 1.0}))
    os._exit(3)


def send_and_hang(send, path):
    with subprocess.Popen(SLEEP) as child:
        path.write_text(str(child.pid))
        send(Row("loss", "first", "someone", {"ms": 1.0}))
        time.sleep(60)


def leave_a_process_behind(send):
    subprocess.Popen(SLEEP, close_fds=False)
    send(Row("loss", rows.DEVICE, "someone", {"small": rows.SMALL}))
