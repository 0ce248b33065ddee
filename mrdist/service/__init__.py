"""The service: trainings, models and pictures over HTTP, a thin skin over `mrdist.pipeline`.

It needs the extra ``service`` (``pip install 'mrdist[service]'``). All its state is in the catalogue, a
folder or bucket, and none in the process alone: after a crash, a new service continues.
"""
