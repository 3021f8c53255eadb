"""`./tests/run --changed` runs the tests that a change concerns."""

import pytest
from changed import PACKAGE, concerned

TESTS = {
    "tests/unit/a/test_x.py": f"from {PACKAGE}.a import x\n",
    "tests/unit/a/test_y.py": f"from {PACKAGE}.a.y import name\n",
    "tests/unit/b/test_z.py": f"import {PACKAGE}.b.z\n",
    "tests/pool/test_pool.py": "import os\n",
}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        (f"{PACKAGE}/a/x.py", ["tests/unit/a/test_x.py"]),
        (f"{PACKAGE}/a/y.py", ["tests/unit/a/test_y.py"]),
        (f"{PACKAGE}/b/z.py", ["tests/unit/b/test_z.py"]),
        # a script belongs to its folder, as the package's own file does
        (f"{PACKAGE}/a/x.sh", ["tests/unit/a/test_x.py"]),
        (f"{PACKAGE}/a/__init__.py", ["tests/unit/a/test_x.py"]),
        ("tests/pool/test_pool.py", ["tests/pool/test_pool.py"]),
        ("README.md", []),
    ],
)
def test_tests_of_changed_modules_run(changed, expected):
    assert list(concerned({changed}, TESTS)) == expected
