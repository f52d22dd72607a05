"""The command `ellq`."""


def main() -> None:
    """Run the command and exit with one of the codes in exits.py."""
    from ellq_client.cli.app import app

    app()
