"""The verbs: each module holds one function that the command line, the notebook and the service share."""
