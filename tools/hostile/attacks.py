"""What an attack is, and how the next one is drawn."""

import contextlib
import os
import time

NAMED = "STREAMVAULT_HOSTILE_ATTACKS"


class Deck:
    """The attacks of one kind. Each is drawn once before any is drawn again; then by weight."""

    def __init__(self, kind):
        self.kind = kind
        self.attacks = []  # (function, weight)

    def attack(self, weight=1):
        """Decorates an attack; its first line of documentation is what the table says of it."""
        def add(body):
            self.attacks.append((body, weight))
            return body

        return add

    def draws(self, rnd):
        """An endless series of attacks; only of those that are named in the environment, if any are."""
        named = os.environ.get(NAMED, "").split()
        attacks = [one for one in self.attacks if not named or one[0].__name__ in named]
        if not attacks:
            return
        bodies, weights = zip(*attacks)
        yield from rnd.sample(bodies, len(bodies))
        while True:
            yield rnd.choices(bodies, weights)[0]


def title(body):
    return body.__doc__.split("\n")[0].rstrip(".")


class Diary:
    """Which attacks ran when; each process that attacks writes lines of its own."""

    def __init__(self, path):
        self.file = open(path, "a", buffering=1)

    @contextlib.contextmanager
    def entry(self, kind, body):
        """Notes an attack, and what stopped it if that was not expected."""
        began, problem = time.time(), ""
        try:
            yield
        except OSError:
            pass  # A connection that was refused or cut, a file that is gone: that is the answer.
        except Exception as error:
            problem = f"{type(error).__name__}: {error}".replace("\n", " ").replace("\t", " ")
        self.file.write(f"{began:.2f}\t{time.time():.2f}\t{kind}\t{body.__name__}\t{title(body)}\t{problem}\n")


def read_diary(path):
    """[(began, ended, kind, name, title, problem)]"""
    entries = [line.split("\t") for line in path.read_text().splitlines()]
    return [(float(began), float(ended), *rest) for began, ended, *rest in entries]
