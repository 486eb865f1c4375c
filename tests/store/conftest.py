"""The laws explain themselves when they are broken."""

import pytest

pytest.register_assert_rewrite("tests.store.laws")
