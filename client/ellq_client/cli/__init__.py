"""The command `ellq`."""

from ellq_client.cli.exits import run


def main() -> None:
    """Run the command and exit with one of the codes in exits.py."""
    from ellq_client.cli.app import app

    run(app)
