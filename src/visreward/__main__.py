"""Run the command line with `python -m visreward`."""

from visreward.cli.main import run

if __name__ == "__main__":
    run()
