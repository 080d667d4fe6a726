"""Makes this folder importable as the package `fuzz`, whatever the tests were started from."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
