"""`python -m cocom.cli`, for launchers that start modules."""

from cocom.cli import main

main()
