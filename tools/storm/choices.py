"""What the rounds are to be: every kind as often as it weighs, shuffled, and all of it from one seed."""

import itertools
import random
from dataclasses import dataclass

from .endings import ENDINGS
from .exporters import COURSES

MOMENTS = ["just before a scrape", "just after a scrape", "at any time"]


@dataclass(frozen=True)
class Choice:
    number: int
    ending: str
    exporter: str
    moment: str
    footage: float  # Seconds.
    is_last_of_pod: bool
    exporter_starts_first: bool
    seed: int  # Of all that is left to chance in the round.

    def __str__(self):
        return (f"round {self.number}: {self.ending}; exporter {self.exporter}; {self.moment}; {self.footage:.2f} s of footage; "
                f"{'last of its pod' if self.is_last_of_pod else 'same directory again'}; seed {self.seed}")


def deal(rounds, lanes, seed):
    """The rounds of each lane."""
    chance = random.Random(seed)
    endings = draw(chance, {one.name: one.weight for one in ENDINGS.values()}, rounds)
    courses = {name: cycle(chance, courses_of(ENDINGS[name])) for name in ENDINGS}
    hands = [[] for _ in range(lanes)]
    for number, ending in enumerate(endings):
        hands[number % lanes].append(Choice(
            number, ending, next(courses[ending]), chance.choice(MOMENTS), chance.uniform(0, 2.5),
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


def cycle(chance, names):
    chance.shuffle(names)
    return itertools.cycle(names)
