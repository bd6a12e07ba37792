"""Hostile clients of one program, from addresses of their own.

usage: python3 -m hostile.clients SEED DIARY SECONDS PORT
"""

import base64
import os
import random
import select
import socket
import struct
import sys
import time

from .attacks import Deck, Diary

deck = Deck("clients")
attack = deck.attack
GET = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"


class Crowd:
    """Connections of one attack to one program; all of them end with it."""

    def __init__(self, port, rnd, seconds):
        self.port, self.rnd = port, rnd
        self.until = time.monotonic() + seconds
        self.sockets = []
        self.host = f"127.0.{rnd.randrange(1, 200)}.{rnd.randrange(1, 250)}"
        self.is_scattered = rnd.random() < 0.3  # From many addresses, or from one.

    def connect(self, first=b"", receive_bytes=None):
        time.sleep(0.002)  # 500 a second from each process: more is a matter for the kernel's queues.
        client = socket.socket()
        if receive_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        host = f"127.1.{self.rnd.randrange(250)}.{self.rnd.randrange(1, 250)}" if self.is_scattered else self.host
        client.bind((host, 0))
        client.settimeout(2)
        self.sockets.append(client)
        client.connect(("127.0.0.1", self.port))
        client.setblocking(False)
        self.send(client, first)
        return client

    def send(self, client, data):
        try:
            return client.send(data) if data else 0
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def hold(self, count, first, more=b"", pause=0.3, receive_bytes=None, reads=True):
        """Keeps so many connections that send `more` now and then; those that are closed come again."""
        while time.monotonic() < self.until:
            while len(self.sockets) < count and time.monotonic() < self.until:
                try:
                    self.connect(first, receive_bytes)
                except OSError:
                    time.sleep(0.01)
                    self.sockets.pop().close()
            for client in list(self.sockets):
                if self.send(client, more) < 0:
                    self.drop(client)
            if reads:
                self.read()
            time.sleep(pause)

    def read(self):
        poll = select.poll()
        by_number = {client.fileno(): client for client in self.sockets}
        for number in by_number:
            poll.register(number, select.POLLIN)
        for number, _ in poll.poll(0):
            try:
                if by_number[number].recv(65536):
                    continue
            except BlockingIOError:
                continue
            except OSError:
                pass
            self.drop(by_number[number])

    def drop(self, client):
        self.sockets.remove(client)
        client.close()

    def close(self):
        for client in self.sockets:
            client.close()


@attack(3)
def slow_heads(crowd):
    """300 clients, a byte of a head now and then"""
    crowd.hold(300, b"GET /metrics HTTP/1.1\r\nHost: x\r\nX-A: ", b"b")


@attack(2)
def slow_bodies(crowd):
    """300 clients, a byte of a body now and then"""
    crowd.hold(300, b"POST /eventsub HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\na", b"b")


@attack(2)
def slow_readers(crowd):
    """100 clients that ask 200 times and never read"""
    crowd.hold(100, GET * 200, GET, receive_bytes=2048, reads=False)


@attack(2)
def silent_clients(crowd):
    """300 clients that say nothing"""
    crowd.hold(300, b"")


@attack(2)
def pipelining(crowd):
    """250 clients with 32 requests at a time"""
    crowd.hold(250, GET * 32, GET * 32, pause=0.05)


@attack(2)
def floods(crowd):
    """connections as fast as they come"""
    while time.monotonic() < crowd.until:
        crowd.drop(crowd.connect(crowd.rnd.choice([b"", b"G", GET])))


@attack()
def resets(crowd):
    """requests whose client is gone"""
    while time.monotonic() < crowd.until:
        client = crowd.connect(GET)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        crowd.drop(client)


@attack(2)
def garbage(crowd):
    """bytes that are no HTTP"""
    lines = [b"\x16\x03\x01" + os.urandom(200), b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"\0" * 5000, b"GET\r\n\r\n", b"\r\n" * 5000,
             b"GET / HTTP/9.9\r\n\r\n", b"GET /%s HTTP/1.1\r\n\r\n" % (b"a" * 20_000), b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
             b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x",
             b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
             b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 5000 + b"\r\n"]
    while time.monotonic() < crowd.until:
        crowd.connect(crowd.rnd.choice(lines))
        crowd.read()
        while len(crowd.sockets) > 50:
            crowd.drop(crowd.sockets[0])


@attack()
def big_chunks(crowd):
    """chunked bodies without an end"""
    head = b"POST /eventsub HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    crowd.hold(20, head, b"4000\r\n" + b"x" * 0x4000 + b"\r\n", pause=0.05)


@attack()
def browsers(crowd):
    """pages of the web that ask under their own names"""
    fields = b"User-Agent: Mozilla/5.0\r\nOrigin: http://evil.example\r\nAccept-Language: en\r\nSec-Fetch-Site: cross-site\r\n"
    paths = [b"GET /metrics", b"GET /", b"GET /api/recording/active", b"POST /api/recording/start/wanted", b"POST /api/drain"]
    while time.monotonic() < crowd.until:
        crowd.connect(crowd.rnd.choice(paths) + b" HTTP/1.1\r\nHost: rebound.example\r\n" + fields + b"\r\n")
        time.sleep(0.01)
        crowd.read()


@attack()
def wrong_tokens(crowd):
    """guesses at the bearer token"""
    while time.monotonic() < crowd.until:
        token = base64.b64encode(os.urandom(crowd.rnd.choice([1, 16, 3000])))
        crowd.connect(b"POST /api/drain HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + token + b"\r\nContent-Length: 0\r\n\r\n")
        time.sleep(0.005)
        crowd.read()


@attack(2)
def web_sockets(crowd):
    """WebSockets that never read, and frames that are none"""
    head = (b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n")
    frames = [b"\x81\xff" + b"\xff" * 8 + b"mask" + b"x" * 1000, b"\x89\x80mask" * 200, b"\x01\x80mask" * 500, os.urandom(500),
              b"\x88\x82maskxx", b"\x81\x05hello"]
    crowd.hold(100, head, crowd.rnd.choice(frames), pause=0.1, receive_bytes=2048, reads=crowd.rnd.random() < 0.5)


@attack(2)
def false_scrapers(crowd):
    """scrapers from 50 addresses, half of which never take the page"""
    crowd.is_scattered = True
    head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: Prometheus/3.5.0\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
    crowd.hold(50, head, head, pause=0.5, receive_bytes=2048, reads=crowd.rnd.random() < 0.5)


@attack()
def false_hooks(crowd):
    """strangers at the preStop hook"""
    while time.monotonic() < crowd.until:
        crowd.connect(b"GET /-/terminating HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(0.05)
        crowd.read()


@attack()
def odd_fields(crowd):
    """fields that are long, many and contradictory"""
    fields = [b"Accept: " + b"text/plain;q=0.1," * 400, b"Accept-Encoding: " + b"gzip;q=1," * 700, b"X-Forwarded-For: " + b"1.2.3.4:5," * 600,
              b"Connection: " + b"close," * 1000, b"Expect: 100-continue", b"Content-Length: 0\r\nContent-Length: 0"]
    while time.monotonic() < crowd.until:
        crowd.connect(b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + crowd.rnd.choice(fields) + b"\r\n\r\n")
        time.sleep(0.01)
        crowd.read()


def main():
    seed, diary, seconds, port = sys.argv[1:]
    rnd, diary = random.Random(f"{seed}/{deck.kind}/{port}"), Diary(diary)
    until = time.monotonic() + float(seconds)
    for body in deck.draws(rnd):
        left = until - time.monotonic()
        if left <= 0:
            return
        crowd = Crowd(int(port), rnd, min(left, rnd.uniform(1, 2.5)))
        with diary.entry(deck.kind, body):
            try:
                body(crowd)
            finally:
                crowd.close()


if __name__ == "__main__":
    main()
