"""The number that everything random here starts from: another one each time, unless it is given."""

import os
import secrets

SEED = int(os.environ.get("SUSSURRO_TEST_SEED") or secrets.randbelow(1 << 31))
"""`SUSSURRO_TEST_SEED=N ./just test tests/fuzz` does again what a run with seed N did."""
