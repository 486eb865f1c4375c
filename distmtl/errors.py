"""The exception tree. Every error says what is wrong, where, and what to do about it.

Each class has a stable ``code`` (scripts and the docs refer to it), a ``remedy`` and the exit code that the
command line ends with. Errors survive pickling, so the one a worker raises is the one a person reads.

    DistmtlError                 1  a bug
    ├── WorkerError              1  an exception that is none of these, raised in a worker
    ├── InputError               2  the user's input is wrong
    │   ├── ConfigError             the run file
    │   ├── SourceError             a packed source, or the files to pack
    │   │   └── CorruptBlockError   bytes that are missing or do not match their checksum
    │   ├── StoreError              a store that cannot be reached, read or written
    │   │   ├── KeyMissingError
    │   │   └── KeyExistsError
    │   ├── CheckpointError         a checkpoint that cannot be used
    │   │   └── SupersededError     a later attempt of the run has taken over
    │   └── ResourceError           more workers, devices or packages than there are
    ├── Interrupted              3  stopped on request, after a committed checkpoint
    └── TrainingStopped          4  stopped by the failure policy
        └── NonFiniteError          a NaN or infinite loss or gradient
"""

from typing import ClassVar


class DistmtlError(Exception):
    """Base of all errors that distmtl raises on purpose.

    Args:
        what: One sentence: what is wrong, with the value and the bound.
        where: The place: ``file:line: key``, a URI, or a rank and step. May be empty.
        remedy: What the reader should do. Defaults to the class's own.
    """

    code: ClassVar[str] = "E000"
    exit_code: ClassVar[int] = 1
    default_remedy: ClassVar[str] = "This is a bug in distmtl; please report it with the traceback."

    def __init__(self, what: str, where: str = "", remedy: str = "") -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy or self.default_remedy

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.what} {self.remedy}".rstrip()


class WorkerError(DistmtlError):
    """A worker raised an exception of another kind; its traceback is in ``__notes__``."""

    code = "E100"
    default_remedy = ""


class InputError(DistmtlError):
    """Something that the user gave is wrong; nothing was started and nothing is lost."""

    code = "E200"
    exit_code = 2
    default_remedy = ""


class ConfigError(InputError):
    """The run file, or an override of it, is wrong."""

    code = "E210"


class SourceError(InputError):
    """A packed source, or a file given to ``distmtl pack``, cannot be used."""

    code = "E220"


class CorruptBlockError(SourceError):
    """Bytes of a source are missing or do not match the checksum in its manifest, though its store answers.

    Attributes:
        place: The source's name in the run and the block's number in the train split, where a run reads it.
    """

    code = "E221"
    default_remedy = "Run 'distmtl source URI --verify' and pack the source again."
    place: tuple[str, int] | None = None


class StoreError(InputError):
    """A store cannot be opened, read or written."""

    code = "E230"


class KeyMissingError(StoreError):
    """There is no object with this key."""

    code = "E231"


class KeyExistsError(StoreError):
    """A create-only put found that the key is taken."""

    code = "E232"


class CheckpointError(InputError):
    """A checkpoint is missing, incomplete, corrupt, or of another run."""

    code = "E240"


class SupersededError(CheckpointError):
    """A later attempt of the run has begun; this one may no longer commit or delete checkpoints."""

    code = "E241"
    default_remedy = "Let one of the two go on and stop the other; give a new run a name of its own."


class ResourceError(InputError):
    """The run asks for more workers, devices or packages than this machine or cluster has."""

    code = "E250"


class Interrupted(DistmtlError):
    """The run was stopped on request, after its checkpoint was committed."""

    code = "E300"
    exit_code = 3
    default_remedy = "Run the same command again to go on from the last checkpoint."


class TrainingStopped(DistmtlError):
    """The failure policy stopped the run."""

    code = "E400"
    exit_code = 4
    default_remedy = "The last committed checkpoint is intact; see the cause above."


class NonFiniteError(TrainingStopped):
    """A loss or gradient became NaN or infinite."""

    code = "E410"
    default_remedy = (
        "Lower optim.lr, set optim.clip_norm, or use train.precision fp32; the last committed checkpoint is intact."
    )
