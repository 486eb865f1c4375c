import json
import subprocess
import sys
from pathlib import Path

from distmtl.data import pack

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_loader_in_a_loop_of_ones_own(tmp_path):
    pack([str(EXAMPLES / "adult" / f"{split}.parquet") for split in ("train", "valid")], str(tmp_path))
    script = EXAMPLES / "loader" / "train_alone.py"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    state, loss = done.stdout.splitlines()
    assert json.loads(state)["step"] == 200
    assert 50 < float(loss) < 400  # the variance of the hours is 150
