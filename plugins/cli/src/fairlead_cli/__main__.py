"""`python -m fairlead_cli` is the command `fairlead`."""

from fairlead_cli.command import main

if __name__ == "__main__":
    main()
