"""The port for metrics: without a key, and for nothing else."""

import httpx
from server_process import Start


def test_metrics_have_a_port_of_their_own(start: Start) -> None:
    """There from the start, also while a model loads; every other path is unknown there."""
    server = start(SUSSURRO_METRICS_PORT="0", FAKE_LOAD_SECONDS="2")
    port = server.line("listening_for_metrics")["port"]
    own = f"http://127.0.0.1:{port}"
    loading = httpx.get(f"{own}/metrics").text
    server.ready()

    assert 'sussurro_model_ready{model="base"} 0.0' in loading
    assert 'sussurro_model_ready{model="base"} 1.0' in httpx.get(f"{own}/metrics").text
    assert [404, 404, 404] == [
        httpx.get(own + path).status_code for path in ("/", "/v1/models", "/metrics/")
    ]
    assert 401 == httpx.get(f"{server.url}/metrics").status_code
    assert port != server.line("listening")["port"]
