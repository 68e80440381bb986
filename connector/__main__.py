"""`python -m connector`, where the command is not on the path."""

from connector.cli import main

main()
