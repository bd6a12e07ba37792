"""usage: stop_main_thread.py PID: holds the main thread of a process, and only that one, until the process ends.

Prints "stopped" when it stands still. All other threads go on, so this is a program whose main loop hangs.
"""

import ctypes
import os
import sys

PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
WALL = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
process = int(sys.argv[1])
for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
    if libc.ptrace(request, process, None, None) != 0:
        sys.exit(f"ptrace: {os.strerror(ctypes.get_errno())}")
while True:
    _, status = os.waitpid(process, WALL)
    if os.WIFSTOPPED(status):
        print("stopped", flush=True)
    else:
        break
