"""The command ``gnas``, also as ``python -m gnas``."""

import sys


def main() -> None:
    """Runs `gnas.cli.main`; Ctrl-C while that is imported ends with its exit code."""
    try:
        from gnas.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
