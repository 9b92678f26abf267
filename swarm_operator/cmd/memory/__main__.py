"""`python -m swarm_operator.cmd.memory`."""

from swarm_operator.cmd.memory import program

if __name__ == "__main__":
    program()
