"""Through the gateway's own program, started as the chart does: events as they come, and a client that goes away."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import openai
import pytest
from serving_support import PATIENT, free_ports
from text_waiting import LONGEST, until

TRAEFIK = Path(sys.executable).parent / "traefik"


def answers(url):
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.fixture
def through_gateway(tmp_path):
    """OpenAI's client of a server, with the gateway in between."""
    started = []

    def client(server):
        [port] = free_ports(1)
        routes = {
            "http": {
                "routers": {"text": {"rule": "PathPrefix(`/`)", "service": "text"}},
                "services": {"text": {"loadBalancer": {"servers": [{"url": server.url}]}}},
            }
        }
        file = tmp_path / "routes.yaml"
        file.write_text(json.dumps(routes))
        flags = (
            f"--entrypoints.web.address=127.0.0.1:{port}",
            f"--providers.file.filename={file}",
            "--experimental.fastproxy=true",
            "--global.checknewversion=false",
            "--global.sendanonymoususage=false",
        )
        with (tmp_path / "gateway.log").open("wb") as log:
            started.append(subprocess.Popen([str(TRAEFIK), *flags], stdout=log, stderr=log))
        url = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{url}/v2/health/ready"))
        return openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=600)

    yield client
    for process in started:
        process.kill()
        process.wait(10)


def test_a_stream_is_not_buffered_and_a_client_that_goes_away_frees_its_slot(servers, long_model, through_gateway):
    server = servers.start(long_model, *PATIENT, "--max-batch", "1")
    client = through_gateway(server)

    stream = client.completions.create(model="m", prompt="abc", max_tokens=LONGEST, stream=True)
    for _, event in zip(range(5), stream, strict=False):
        assert event.choices[0].finish_reason is None
    assert server.metrics()["headrace_requests_running"] == 1  # the first events have come, and the text goes on
    stream.close()

    until(lambda: server.metrics()["headrace_requests_running"] == 0)
    assert server.metrics()['headrace_requests_total{code="499"}'] == 1


def test_an_answer_is_the_same_through_the_gateway(server, through_gateway):
    found = through_gateway(server).completions.create(model="m", prompt="abc", max_tokens=30)
    assert found.choices[0].text == server.text("abc", max_tokens=30)
