#!/usr/bin/env bash
# s3fs 2026.9.0 goes on with the endpoint that AWS_ENDPOINT_URL named when its filesystem was made first.
#
# Guessed: S3FileSystem() made after the variable has changed asks the new endpoint, as boto3.client("s3") does.
# Happens: it is the object of the first call, and its client asks the first endpoint. fsspec keeps filesystems by their
#          arguments, and the environment is none. A call with any other argument makes a new one.
# With: Python 3.11 to 3.13, fsspec 2026.9.0, aiobotocore 3.10.0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet s3fs==2026.9.0 fsspec==2026.9.0 aiobotocore==3.10.0 boto3==1.43.117
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import os

import boto3
import s3fs

os.environ.update(AWS_ACCESS_KEY_ID="a", AWS_SECRET_ACCESS_KEY="b", AWS_DEFAULT_REGION="us-east-1")


def endpoint(filesystem):
    filesystem.connect()
    return filesystem._s3.meta.endpoint_url


os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9001"
first = s3fs.S3FileSystem()
assert endpoint(first) == "http://127.0.0.1:9001"
os.environ["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9002"
second = s3fs.S3FileSystem()
print("boto3 asks", boto3.client("s3").meta.endpoint_url, "and s3fs", endpoint(second))
assert boto3.client("s3").meta.endpoint_url == "http://127.0.0.1:9002"
assert second is first and endpoint(second) == "http://127.0.0.1:9001"
third = s3fs.S3FileSystem(config_kwargs={"user_agent_extra": "another"})
assert endpoint(third) == "http://127.0.0.1:9002"
PY
