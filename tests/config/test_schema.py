import json
import subprocess
import sys
from pathlib import Path

from distmtl.config.schema import main, run_schema, schema_text

COMMITTED = Path(__file__).parents[2] / "configs" / "schema.json"


def test_the_committed_schema_is_current() -> None:
    remedy = "run: python -m distmtl.config.schema configs/schema.json"
    assert COMMITTED.read_text(encoding="utf-8") == schema_text(), remedy


def test_main_writes_the_file_that_is_named(tmp_path: Path) -> None:
    main([str(tmp_path / "s.json")])
    assert json.loads((tmp_path / "s.json").read_text()) == run_schema()


def test_choices_need_their_kind_and_keys_are_described() -> None:
    schema = run_schema()
    assert schema["$defs"]["TemperatureSpec"]["required"] == ["kind"]
    assert schema["$defs"]["BatchSpec"]["properties"]["rows"]["description"].startswith("Rows per step")
    assert schema["additionalProperties"] is False
    assert "base" in schema["properties"]


def test_importing_the_run_file_loads_neither_torch_nor_ray() -> None:
    code = (
        "import sys, distmtl.config as c; c.load_config, c.config_hash; import distmtl.config.schema; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'ray', 'pyarrow')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
