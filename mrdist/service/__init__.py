"""The service: trainings, models and pictures over HTTP, a thin skin over `mrdist.pipeline`.

It needs the extra ``service`` (``pip install 'mrdist[service]'``). Everything that it knows lies in the catalogue, a
folder or bucket, and nothing in the process alone: a service that was killed is started again and goes on.
"""
