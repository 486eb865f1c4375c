"""A driver as the command line is one: ``python drive.py RUNTIME WORKERS WORK FOLDER``, ending with its exit code."""

import json
import sys
from pathlib import Path

import works

from distmtl.errors import DistmtlError
from distmtl.observe.console import Lines
from distmtl.orchestrate import train

if __name__ == "__main__":
    runtime, workers, work, folder = sys.argv[1:]
    try:
        config = works.config(Path(folder), runtime, int(workers))
        result = train(config, work=getattr(works, work), console=Lines())
    except DistmtlError as error:
        sys.stderr.write(f"{error}\n")
        for note in error.__notes__ if error.exit_code == 1 else []:
            sys.stderr.write(f"{note}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(f"{json.dumps(result.to_json())}\n")
