"""``python -m moeplan``."""

import sys

from moeplan.cli import run

sys.exit(run())
