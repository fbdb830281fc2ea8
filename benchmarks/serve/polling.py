"""``recsys`` with another time between two looks at the registry: polling SECONDS ARGUMENTS."""

import sys

from recsys.cli import main
from serving.service import follower

if __name__ == "__main__":
    follower.POLL_SECONDS = float(sys.argv.pop(1))
    main()
