import threading
import time

from distmtl.observe.console import Silent
from distmtl.orchestrate.control import ControlServer
from distmtl.orchestrate.messages import Committed, Emitted, Failed, Finished, Inbox, Joined, Outbox
from distmtl.training.result import RunResult


def progress(step: int) -> Emitted:
    return Emitted({"kind": "progress", "step": step})


def test_outbox_keeps_the_order_and_the_newest_progress():
    batches = []
    outbox = Outbox(batches.append, interval_s=0.05)
    sent = [progress(1), Joined(0, 1), progress(2), Committed("a", 2, {}), progress(3)]
    for message in sent:
        outbox.put(message)
    outbox.close()
    assert [message for batch in batches for message in batch] in (
        sent[1:2] + sent[3:],
        sent[:1] + sent[1:2] + sent[3:],
    )


def test_outbox_never_blocks_the_sender():
    release = threading.Event()
    delivered = []

    def slow(batch):
        release.wait(10)
        delivered.extend(batch)

    outbox = Outbox(slow, interval_s=0.0)
    began = time.monotonic()
    for step in range(1000):
        outbox.put(Committed("a", step, {}))
    assert time.monotonic() - began < 1.0
    release.set()
    outbox.close()
    assert [message.step for message in delivered] == list(range(1000))


def test_outbox_survives_a_driver_that_is_gone():
    def broken(batch):
        raise OSError("gone")

    outbox = Outbox(broken, interval_s=0.0)
    outbox.put(progress(1))
    outbox.close(timeout_s=5)
    outbox.put(progress(2))
    outbox.close(timeout_s=5)


def test_inbox_keeps_commits_over_attempts():
    inbox = Inbox(Silent())
    result = RunResult("r", 1, 1, None, {})
    inbox.receive([Joined(0, 1), Committed("a", 200, {}), Finished(result)])
    assert (inbox.joined, inbox.committed_step, inbox.result) == (True, 200, result)
    inbox.begin_attempt()
    inbox.receive([Committed("a", 100, {})])
    assert (inbox.joined, inbox.committed_step, inbox.result, inbox.failures) == (False, 200, None, [])


def test_a_worker_that_says_nothing_is_counted_when_it_ends(tmp_path):
    import subprocess
    import sys

    server = ControlServer(tmp_path / "control")
    code = "import sys; from multiprocessing.connection import Client; Client(sys.argv[1], family='AF_UNIX')"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "control")], check=True)
    assert server.drain() == []
    assert server.hung_up == 1
    server.close()


def test_failures_are_collected():
    inbox = Inbox(Silent())
    from distmtl.orchestrate.failure import Failure

    failure = Failure(1, "ValueError", "Traceback")
    inbox.receive([Failed(failure)])
    assert inbox.failures == [failure]
