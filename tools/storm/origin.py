"""A live HLS stream of segments that lie ready, one a second: usage: origin.py DIRECTORY DELIVERIES

Prints its address. /VIEWER/live.m3u8 is the stream; what was sent to whom, and when, goes into the file DELIVERIES, a line each.
"""

import http.server
import os
import sys
import time

WINDOW = 6


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    media, deliveries = sys.argv[1], os.open(sys.argv[2], os.O_WRONLY | os.O_APPEND)
    start = time.monotonic()

    def log_message(self, *_):
        pass

    def do_GET(self):
        viewer, name = self.path.strip("/").split("/")
        if name == "live.m3u8":
            return self.answer(self.playlist())
        number = int(name.removesuffix(".ts"))
        with open(f"{self.media}/{number}.ts", "rb") as file:
            self.answer(file.read())
        os.write(self.deliveries, f"{viewer} {number} {time.time():.3f}\n".encode())

    def playlist(self):
        first = int(time.monotonic() - self.start)
        lines = ["#EXTM3U", "#EXT-X-VERSION:3", "#EXT-X-TARGETDURATION:1", f"#EXT-X-MEDIA-SEQUENCE:{first}"]
        for number in range(first, first + WINDOW):
            lines += ["#EXTINF:1.000,", f"{number}.ts"]
        return "\n".join(lines + [""]).encode()

    def answer(self, body):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"http://127.0.0.1:{server.server_port}", flush=True)
server.serve_forever()
