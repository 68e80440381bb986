"""The program as `python -m connector.cli`, where the command is not on the path."""

from connector.cli import main

main()
