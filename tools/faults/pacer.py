"""usage: pacer.py FILE BYTES_PER_SECOND COUNT_FILE [deaf]

Writes FILE to standard output at a steady rate, and says in COUNT_FILE how many bytes the pipe has taken. Whole packets
only. Deaf: it heeds neither SIGINT nor SIGTERM.
"""

import os
import signal
import sys
import time

path, rate, count_path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN if "deaf" in sys.argv else signal.SIG_DFL)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
media = open(path, "rb").read()
counter = os.open(count_path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
start, sent = time.monotonic(), 0
while sent < len(media):
    due = int((time.monotonic() - start) * rate) // 188 * 188 + 188
    if due > sent:
        sent += os.write(1, media[sent:due])
        os.pwrite(counter, b"%20d" % sent, 0)
    time.sleep(0.02)
