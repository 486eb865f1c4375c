"""What the process that starts workers checks before it does: a wrong run file should not cost their start.

The workers check again, on the checkpoint that they really go on from. Loads no torch.
"""

from distmtl.checkpoint.commit import find
from distmtl.checkpoint.run import RUN_KEY, open_run, read_record
from distmtl.config.environment import resolve_env
from distmtl.config.hash import check_resume
from distmtl.orchestrate.job import Job
from distmtl.orchestrate.prepare import prepare
from distmtl.orchestrate.user_code import make_importable


def preflight(job: Job) -> None:
    """Open and describe what the run reads, and compare its file with the run that it goes on with.

    Raises:
        InputError: Something that the user gave is wrong.
    """
    make_importable(job.base)
    prepare(job.config)
    run = open_run(resolve_env(job.config).store, job.config.name)
    if job.resume == "auto" and run.store.size(RUN_KEY) is not None and find(run):
        check_resume(read_record(run).config, job.config.model_dump(mode="json"), job.allow_change)
