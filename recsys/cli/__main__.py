"""Makes ``python -m recsys.cli`` the command ``recsys``."""

from .entry import main

if __name__ == "__main__":
    main()
