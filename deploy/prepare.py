"""For docker-compose.yml, each run once: ``secrets FOLDER FOLDER``, the second for certificates; ``bucket NAME``."""

import json
import os
import secrets
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

DAY, YEARS = timedelta(days=1), timedelta(days=3650)


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


def draw_certificate(folder: Path) -> None:
    """Make the certificate that all members of the Dask cluster have, and nobody else, unless it exists."""
    if (folder / "cert.pem").exists():  # written after its other half
        return
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "mrdist")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - DAY, now + YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, SHA256())
    )
    _write(folder / "key.pem", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    _write(folder / "cert.pem", certificate.public_bytes(Encoding.PEM).decode())


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
    verb, *places = sys.argv[1:]
    if verb == "secrets":
        draw_secrets(Path(places[0]))
        draw_certificate(Path(places[1]))
    else:
        make_bucket(*places)
