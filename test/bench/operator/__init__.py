"""How fast the operator is, and what it takes, next to the same writes by controller-runtime.

`make bench-operator` runs it; docs/benchmarks.md says what is measured and has the figures of the last run.

    __main__     flags, rounds, order
    subjects     what is created: stores, and clusters with agents
    recording    what the operator writes for one of them, as the reference's input
    contenders   the two programs as processes
    scenarios    create and restart, with their clocks
    audit        who sent how many requests, from the API server's audit log
    processes    CPU time and memory, from /proc
    report       figures, ratios, targets
    go/          the reference
"""
