"""`python -m swarm_operator.cmd.memory`."""

import sys

from swarm_operator.cmd.memory import main

if __name__ == "__main__":
    sys.exit(main())
