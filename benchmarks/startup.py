"""How long `import visreward` and the help pages take, each in a process of its own.

Run: python benchmarks/startup.py [--repeats N] [--output FILE.json]
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

from record import write_run

IMPORT = "import visreward"
HELP = "import sys; from visreward.cli.main import run; sys.argv = ['visreward', {}]; run()"
CASES = {
    "python itself": ("pass", None),
    "import visreward": (IMPORT, 0.3),
    "visreward --help": (HELP.format("'--help'"), 0.7),
    "visreward score --help": (HELP.format("'score', '--help'"), 0.7),
}


def seconds(code: str) -> float:
    """Return the wall time of a Python process that runs some code."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def main() -> None:
    """Print median and worst time of each case, beside its aim, and write them as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--output", help="JSON file to write")
    options = parser.parse_args()
    for code, _ in CASES.values():
        seconds(code)  # once for the compiled files and the disk's cache
    results = {}
    print("| case | median s | worst s | aim s |\n|---|---|---|---|")
    for name, (code, aim) in CASES.items():
        times = [seconds(code) for _ in range(options.repeats)]
        median, worst = statistics.median(times), max(times)
        results[name] = {"median_s": median, "worst_s": worst, "aim_s": aim}
        print(f"| `{name}` | {median:.3f} | {worst:.3f} | {aim or ''} |")
    write_run(options.output, settings={"repeats": options.repeats}, results=results)


if __name__ == "__main__":
    main()
