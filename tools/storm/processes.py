"""All processes that the storm starts, so that none is left."""

import os
import select
import signal
import subprocess
import threading


class Processes:
    def __init__(self):
        self.all = []
        self.lock = threading.Lock()
        self.is_over = False

    def start(self, command, **options):
        with self.lock:
            if self.is_over:
                raise InterruptedError("the storm is over")
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, **options)
            self.all.append(process)
            return process

    def end_all(self):
        with self.lock:
            self.is_over = True
            for process in reversed(self.all):
                if process.poll() is None:
                    process.kill()
                    process.send_signal(signal.SIGCONT)
            for process in self.all:
                process.wait()


def await_exit(process, seconds):
    """Waits for the end without looking again and again, so that the time of the return is the time of the end."""
    if process.returncode is not None:
        return process.returncode
    descriptor = os.pidfd_open(process.pid)
    try:
        if not select.select([descriptor], [], [], seconds)[0]:
            raise TimeoutError(f"{process.args[0]} does not end within {seconds} s")
    finally:
        os.close(descriptor)
    return process.wait()
