"""How a run goes: a lease on its output, phases of tasks on workers, what an earlier run has left, and what it reports.

``driving`` is what every verb shares that writes a store; ``phases`` is the one driver of all that accumulates, solves
and trains; ``resuming`` reads back what an interrupted run has left; ``workers`` checks who can work.
"""
