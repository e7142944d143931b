"""The real server with SUSSURRO_ENGINE=ray: it starts, transcribes, loses a node, and stops."""

import threading
from pathlib import Path

from cluster_engines import STORE, WEIGHTS
from ray.cluster_utils import Cluster
from server_process import launcher

AUDIO = Path(__file__).parents[1] / "audio"


def test_a_request_outlives_a_node(cluster: Cluster, tmp_path: Path) -> None:
    """The same text with two nodes, and with one that is killed meanwhile; then a clean stop."""
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    settings = {
        "SUSSURRO_ENGINE": "ray",
        "SUSSURRO_RAY_ADDRESS": cluster.address,
        "SUSSURRO_RAY_MIN_ENGINES": "2",
        "SUSSURRO_WEIGHTS_DIR": str(WEIGHTS),
        "SUSSURRO_ENCODER": "ctranslate2",
    }
    clip = (AUDIO / "pt-long.ogg").read_bytes()
    with launcher(tmp_path) as launch:
        server = launch("-W", "default", "-m", "server", **settings).ready()
        with server.client() as client:

            def ask() -> str:
                answer = client.post(
                    "/v1/audio/transcriptions",
                    files={"file": ("a.ogg", clip)},
                    data={"model": "base", "response_format": "text"},
                )
                assert 200 == answer.status_code, answer.text
                return answer.text

            engines = client.get("/readyz").json()["engines"]
            assert "ray" == engines["base"]["engine"]
            before = ask()
            node = next(iter(cluster.worker_nodes))
            kill = threading.Timer(1.0, cluster.remove_node, (node,), {"allow_graceful": False})
            kill.start()
            assert before == ask()
            kill.join()
            assert before == ask()
        assert server.lines("engine_lost")
        assert 0 == server.stop()
