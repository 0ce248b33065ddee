"""Preparation for docker-compose.yml: ``prepare.py secrets FOLDER`` and ``prepare.py bucket NAME``, each run once."""

import json
import os
import secrets
import sys
from pathlib import Path


def draw_secrets(folder: Path) -> None:
    """Generate the keys of the object store and the tokens of JupyterLab and the service, unless they exist."""
    key, secret = secrets.token_hex(10), secrets.token_urlsafe(30)
    identity = {
        "name": "mrdist",
        "credentials": [{"accessKey": key, "secretKey": secret}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    if not (folder / "seaweedfs.json").exists():  # written after its other half
        _write(folder / "aws", f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}\n")
        _write(folder / "seaweedfs.json", json.dumps({"identities": [identity]}))
    for name in ("jupyter-token", "service-token"):
        if not (folder / name).exists():
            _write(folder / name, secrets.token_urlsafe(30))


def _write(path: Path, content: str) -> None:
    partial = path.with_name(f"{path.name}.partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content)
    partial.rename(path)


def make_bucket(name: str) -> None:
    """Make the bucket, unless it exists, and compile the kernels into the folder that all containers share."""
    import numpy as np
    import s3fs

    import mrdist

    try:
        filesystem = s3fs.S3FileSystem()
        if not filesystem.exists(name):
            filesystem.mkdir(name)
    except Exception as error:  # whatever the client raises becomes one sentence
        server, reason = os.environ.get("AWS_ENDPOINT_URL", "Amazon"), " ".join(str(error).split())
        sys.exit(f"Error: bucket {name} of {server} can neither be opened nor made ({reason}); check address and keys.")
    faces = np.zeros((2, 4, 8, 8), dtype=np.uint8)
    mrdist.MaskedRegression().fit(faces, faces).predict(faces)


if __name__ == "__main__":
    verb, argument = sys.argv[1:]
    {"secrets": lambda: draw_secrets(Path(argument)), "bucket": lambda: make_bucket(argument)}[verb]()
