"""All the ways in which a recorder ends, by their names."""

from .ending import Ending
from .finalize_faults import FailingDiskInFinalize, HangingDatabase, HangingFinalize, LockedInFinalize, NoSpaceInFinalize
from .gated import Gated, KilledInPhase
from .kills import Hanging, Hurried, Killed, KilledWhileStopping, OutOfMemory, OutOfMemoryWhileStopping, ShortGrace

ENDINGS = {one.name: one for one in [
    Ending, Hurried, ShortGrace, Gated, KilledInPhase, KilledWhileStopping, Killed, OutOfMemory, OutOfMemoryWhileStopping, Hanging,
    NoSpaceInFinalize, LockedInFinalize, FailingDiskInFinalize, HangingFinalize, HangingDatabase,
]}
