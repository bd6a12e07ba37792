"""The cells of the matrix, by what they are about; to import one enters its cells."""

from . import disks, locks, hangs, catalogue, conversions, signals  # noqa: F401
