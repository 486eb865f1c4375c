"""Making the user's own modules importable, for ``custom`` targets."""

import sys
from pathlib import Path


def make_importable(base: str = "") -> None:
    """Put the run file's folder and the working folder on the module search path, once, after what is there.

    Args:
        base: Folder of the run file; "" for none.
    """
    for folder in filter(None, (base, str(Path.cwd()))):
        if folder not in sys.path:
            sys.path.append(folder)
