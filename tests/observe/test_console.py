import io
import itertools

import pytest

from distmtl.observe.bar import Bar
from distmtl.observe.console import Lines, Silent, duration, open_console
from distmtl.observe.events import notice

START = {"kind": "start", "run": "runs/a", "step": 200, "steps": 2000, "workers": 2}
EVAL = {"kind": "eval", "step": 400, "split": "valid", "tasks": {"income": {"auroc": 0.91234, "ap": 0.5}}}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def progress(step: int, **changes):
    values = {"step": step, "steps": 100, "rows_per_s": 12345.6, "eta_s": 75.0, "losses": {"a": 0.25, "b": 1.5}}
    return {"kind": "progress"} | values | changes


def test_lines_say_what_happened():
    stream = io.StringIO()
    console = Lines(stream)
    for event in (START, progress(20), EVAL, {"kind": "commit", "step": 400, "uri": "runs/a/x"}, notice("careful")):
        console.show(event)
    assert stream.getvalue().splitlines() == [
        "runs/a goes on from step 200: 2,000 steps on 2 workers",
        "step 20/100  12,346 rows/s, 1m15s left  loss: a 0.25  b 1.5",
        "step 400 valid  income: auroc 0.9123  ap 0.5",
        "step 400 checkpoint runs/a/x",
        "careful",
    ]


def test_progress_lines_are_rare_but_the_last_step_is_shown():
    stream = io.StringIO()
    console = Lines(stream, first_s=60.0)
    for step in range(1, 101):
        console.show(progress(step, eta_s=None))
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["1/100", "100/100"]


def test_progress_intervals_grow(monkeypatch):
    now = 1000.0
    monkeypatch.setattr("distmtl.observe.console.time.monotonic", lambda: now)
    stream = io.StringIO()
    console = Lines(stream, first_s=2.0, last_s=10.0)
    shown = []
    for _ in range(600):
        before = stream.tell()
        console.show(progress(5))
        shown += [now] if stream.tell() > before else []
        now += 0.1
    gaps = [later - earlier for earlier, later in itertools.pairwise(shown)]
    assert gaps[0] == pytest.approx(2.0, abs=0.11)
    assert gaps == sorted(gaps) or max(gaps) == pytest.approx(10.0, abs=0.11)
    assert max(gaps) <= 10.2


def test_unknown_events_and_broken_streams_are_passed_over():
    stream = io.StringIO()
    console = Lines(stream)
    console.show({"kind": "from the future"})
    assert stream.getvalue() == ""
    stream.close()
    console.show(notice("nobody hears this"))


def test_the_console_suits_the_stream():
    assert isinstance(open_console(quiet=True, stream=Terminal()), Silent)
    assert isinstance(open_console(stream=io.StringIO()), Lines)
    assert isinstance(open_console(stream=Terminal()), Bar)


def test_the_bar_shows_rate_time_and_losses(monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    bar = Bar(stream)
    for event in (START, progress(50), EVAL, notice("[odd] markup"), progress(100, losses={"[a]": 0.125})):
        bar.show(event)
    bar.close()
    bar.close()
    text = stream.getvalue()
    assert "goes on from step 200" in text
    assert "100/100" in text
    assert "12,346 rows/s" in text
    assert "1m15s left" in text
    assert "[a] 0.125" in text
    assert "[odd] markup" in text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (42, "42s"), (59.7, "1m00s"), (190, "3m10s"), (7500, "2h05m"), (273600, "3d04h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text
