"""The studio of ``mrdist serve``: from upload to picture, with eight clients at once."""

import http.client
import io
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image
from services import serving

import mrdist
from benchmarks.stores import BETWEEN, synthetic, write_store
from mrdist.pipeline.showing.opened import OpenedMapping

pytestmark = pytest.mark.filterwarnings("ignore")
CLIENTS, REQUESTS = 8, 200
BOUNDARY = "between-the-parts"


def form(photograph: bytes) -> bytes:
    part = f'--{BOUNDARY}\r\ncontent-disposition: form-data; name="{{}}"\r\n\r\n'
    file = part.format('photograph"; filename="face.png')
    return (part.format("model") + "model\r\n" + file).encode() + photograph + f"\r\n--{BOUNDARY}--\r\n".encode()


def ask(url: str, body: bytes, count: int) -> list[tuple[float, float, bytes]]:
    """Return of every request the seconds from upload to picture, those of the model alone, and the picture."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc)
    answers = []
    for _ in range(count):
        started = time.perf_counter()
        connection.request(
            "POST", "/api/v1/synthesis", body, {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}
        )
        with connection.getresponse() as answer:
            content = answer.read()
            seconds = time.perf_counter() - started
            assert answer.status == 200, content
            stages = dict(stage.split(";dur=") for stage in answer.headers["server-timing"].split(", "))
        answers.append((seconds, float(stages["model"]) / 1000, content))
    connection.close()
    return answers


@pytest.mark.parametrize("size", [128, 512])
def test_from_upload_to_picture_with_eight_clients(benchmark, meter, tmp_path, size):
    catalog = tmp_path / "catalog"
    images = write_store(str(tmp_path / "images.zarr"), 16, synthetic(size, "rgb"))
    weights = str(catalog / "models" / "model.zarr")
    mrdist.train(images, weights, **BETWEEN, workers=0)
    stream = io.BytesIO()
    Image.fromarray(mrdist.open_images(images)["neutral"].values[0]).save(stream, format="PNG")
    photograph = stream.getvalue()
    opened = OpenedMapping.open(weights)
    wanted = opened.retouch(photograph).content
    with serving(catalog, tmp_path / "log", "--max-requests", 1e6) as service:
        alone = ask(service.url, form(photograph), 40)[20:]
        with ThreadPoolExecutor(CLIENTS) as clients:

            def all_at_once():
                started = [
                    clients.submit(ask, service.url, form(photograph), REQUESTS // CLIENTS) for _ in range(CLIENTS)
                ]
                return [answer for client in started for answer in client.result()]

            all_at_once()
            found = benchmark.pedantic(all_at_once, rounds=1)
        in_process = []
        for _ in range(20):
            started = time.perf_counter()
            opened.retouch(photograph)
            in_process.append(time.perf_counter() - started)
    assert len(found) == REQUESTS
    assert all(content == wanted for _, _, content in alone + found)
    seconds, model = (np.array(values) for values in zip(*[each[:2] for each in found], strict=True))
    what = f"studio {size} x {size} x 3, {CLIENTS} clients"
    meter.tell(f"{what}: p50", np.percentile(seconds, 50))
    meter.tell(f"{what}: p95", np.percentile(seconds, 95), target="128: below 60 ms" if size == 128 else "")
    meter.tell("  the model's share", float(model.sum() / seconds.sum()), unit="")
    one = np.array([each[0] for each in alone])
    meter.tell("  one client: p50", np.median(one), np.median(in_process), "the same in process")
    meter.tell("  pictures a second", REQUESTS / benchmark.stats.stats.mean, unit="/s")
