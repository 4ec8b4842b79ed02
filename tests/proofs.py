"""The long proofs: `make prove` sets PROVE=all, and without it each plays a fixed slice of its cases."""

import os

PROVE_ALL = os.environ.get("PROVE") == "all"
