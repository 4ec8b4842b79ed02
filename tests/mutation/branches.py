"""`make coverage`: which branches of the three packages the fast tests take, from coverage.py's report.

Exit status 1 when a package has fewer than 95 in 100 of its branches taken.
"""

import json
import sys
from collections import Counter
from pathlib import Path

WANTED = 95.0
PACKAGES = ("consumer", "producer", "recon")


def main() -> int:
    files = json.loads(Path(sys.argv[1]).read_text())["files"]
    shares = {}
    for package in PACKAGES:
        counts = counted(files, package)
        shares[package] = 100 * counts["covered_branches"] / counts["num_branches"]
        lines = 100 * counts["covered_lines"] / counts["num_statements"]
        print(
            f"{package:10} {counts['covered_branches']:5} of {counts['num_branches']:5} branches, "
            f"{shares[package]:5.1f} %; {lines:5.1f} % of the statements"
        )
    return int(min(shares.values()) < WANTED)


def counted(files: dict[str, dict[str, dict[str, int]]], package: str) -> Counter[str]:
    """The numbers of a package's files added up."""
    counts: Counter[str] = Counter()
    for name, file in files.items():
        if name.startswith(f"{package}/"):
            counts.update({key: int(value) for key, value in file["summary"].items() if key in _COUNTED})
    return counts


_COUNTED = {"covered_branches", "num_branches", "covered_lines", "num_statements"}

if __name__ == "__main__":
    sys.exit(main())
