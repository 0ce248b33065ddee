"""The verbs: each module holds one function that the command line, the notebook and the service share.

Its wings stand on one another: ``ingesting``, ``training`` and ``applying`` need none of the others; ``judging`` trains
and applies what it compares; ``showing`` shows what all of them make.
"""
