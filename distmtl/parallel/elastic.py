"""The process that starts the workers of one machine and waits for them: torch's elastic launcher, made quiet.

``python -m distmtl.parallel.elastic EXIT_FILE TORCHRUN_ARGUMENTS...``: instead of logging a table and a traceback of
its own when a worker fails, it writes which one failed to EXIT_FILE, and ends with exit code 1.
"""

import logging
import sys
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun


def main(arguments: list[str]) -> int:
    """Run the launcher.

    Args:
        arguments: The exit file, then what torchrun takes.
    """
    exit_file, *torchrun_arguments = arguments
    logging.disable(logging.CRITICAL)
    try:
        torchrun(torchrun_arguments)
    except ChildFailedError as error:
        # A worker that a signal killed explains the errors of the others, whichever was seen first.
        _, rank, code = min((failure.exitcode >= 0, rank, failure.exitcode) for rank, failure in error.failures.items())
        Path(exit_file).write_text(f"{rank} {code}", encoding="ascii")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
