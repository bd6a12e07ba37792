"""What the rounds are to be: every kind as often as it weighs, shuffled, and all of it from one seed."""

import random
from collections import Counter
from dataclasses import dataclass

from .endings import ENDINGS
from .exporters import COURSES
from .gated import Gated

CUT_STARTS = [(), ("SIGKILL",), ("SIGTERM",), ("SIGKILL", "SIGTERM", "SIGKILL")]
MOMENTS = ["just before a scrape", "just after a scrape", "at any time"]


@dataclass(frozen=True)
class Choice:
    number: int
    ending: str
    exporter: str
    moment: str
    footage: float  # Seconds.
    cut_starts: tuple[str, ...]  # The signals that cut short the starts before the one of the round.
    is_last_of_pod: bool
    exporter_starts_first: bool
    seed: int  # Of all that is left to chance in the round.

    def __str__(self):
        cut = f"starts cut short by {' '.join(self.cut_starts)}; " if self.cut_starts else ""
        return (f"round {self.number}: {cut}{self.ending}; exporter {self.exporter}; {self.moment}; "
                f"{self.footage:.2f} s of footage; {'last of its pod' if self.is_last_of_pod else 'same directory again'}; seed {self.seed}")


def deal(rounds, lanes, seed):
    """The rounds of each lane."""
    chance = random.Random(seed)
    endings = draw(chance, {one.name: one.weight for one in ENDINGS.values()}, rounds)
    # A gate is set by the log of a shutdown that was seen.
    calm = [number for number, name in enumerate(endings) if not issubclass(ENDINGS[name], Gated)][:lanes]
    endings = [endings[number] for number in calm] + [name for number, name in enumerate(endings) if number not in calm]
    courses = Counter()
    hands = [[] for _ in range(lanes)]
    for number, ending in enumerate(endings):
        hands[number % lanes].append(Choice(
            number, ending, rarest(chance, courses, courses_of(ENDINGS[ending])), chance.choice(MOMENTS), chance.uniform(0, 2.5),
            chance.choices(CUT_STARTS, [6, 1, 1, 1])[0],
            chance.random() < 0.2, chance.random() < 0.5, chance.randrange(1 << 32)))
    return hands


def draw(chance, weights, rounds):
    """Each at least once, where there are rounds enough."""
    total = sum(weights.values())
    drawn = [name for name, weight in weights.items() for _ in range(max(1, rounds * weight // total))]
    drawn += chance.choices(list(weights), list(weights.values()), k=max(0, rounds - len(drawn)))
    chance.shuffle(drawn)
    return drawn[:rounds]


def courses_of(ending):
    return [name for name in COURSES if name.startswith(ending.courses)]


def rarest(chance, drawn, names):
    """One of those that were drawn least often."""
    fewest = min(drawn[name] for name in names)
    name = chance.choice([name for name in names if drawn[name] == fewest])
    drawn[name] += 1
    return name
