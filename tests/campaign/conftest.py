"""The fake bench lies beside the tests; worker processes must find it by name too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
