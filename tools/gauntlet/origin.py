"""An origin for one program and one situation; its clock starts with the first request."""

import http.server
import sys
import threading
import time
import urllib.parse


class Origin:
    """Serves `situation`; `names` maps each address that a playlist has announced to the number of its segment."""

    def __init__(self, situation, media):
        self.situation, self.media = situation, media
        self.state, self.names, self.requests = {}, {}, []
        self.started = None
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.origin = self
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/live.m3u8"

    @property
    def age(self):
        return 0 if self.started is None else time.monotonic() - self.started

    def load(self):
        """Counts the loads of the playlist."""
        self.state["loads"] = self.state.get("loads", -1) + 1
        return self.state["loads"]

    def announce(self, playlist, reference, number):
        address = urllib.parse.urljoin(f"http://origin{playlist}", reference)
        self.names[urllib.parse.unquote(address.removeprefix("http://origin"))] = number

    def number(self, path):
        return self.names.get(urllib.parse.unquote(path))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that ends closes its connections as it likes."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        origin = self.server.origin
        with origin.lock:
            if origin.started is None:
                origin.started = time.monotonic()
            answer = origin.situation.answer(self.path, self.headers, origin)
        if answer is None:
            answer = (404, {}, b"not here")
        if isinstance(answer, str):
            answer = answer.encode()
        if isinstance(answer, bytes):
            answer = (200, {}, answer)
        status, fields, body = answer
        origin.requests.append((self.path, status))
        self.send_response(status)
        fields = {"Content-Length": str(len(body)), **fields}
        for name, value in fields.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        try:
            self.wfile.write(body)
        except OSError:
            pass
        if int(fields["Content-Length"]) != len(body):
            self.close_connection = True
