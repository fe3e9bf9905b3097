"""The command ``gnas``, also as ``python -m gnas``."""


def main() -> None:
    """Run `gnas.cli.main`; Ctrl-C while that is imported ends with its exit code."""
    try:
        from gnas.cli import main as run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
