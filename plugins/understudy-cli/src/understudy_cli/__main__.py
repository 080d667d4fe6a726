"""`python -m understudy_cli` is the same as `understudy`."""

from understudy_cli.app import main

if __name__ == "__main__":
    main()
