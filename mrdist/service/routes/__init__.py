"""Routes of the service, one file per topic."""
