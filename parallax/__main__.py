"""`python -m parallax`: the same as the command `parallax`."""

from parallax.cli.main import main

main()
