#!/bin/sh
# make test-versions: the client at the oldest and at the newest grpcio and protobuf, against a real server.
# The generated stubs set the floor; kserve and others hold protobuf below 7, the newest is beyond it.
set -eu
folder=$(mktemp -d)
socket="unix:$folder/s"
"$BIN/ellq" serve --listen "$socket" --metrics-port 0 --log-level error &
server=$!
trap 'kill $server; wait $server || true; rm -rf "$folder"' EXIT
"$BIN/python" -m ellq_server.probe "$socket" --wait 120
"$BIN/python" -c "
import numpy, safetensors.numpy as s
s.save_file({'w': numpy.random.default_rng(0).standard_normal((64, 64))}, '$folder/in.safetensors')"

try() {
    name=$1
    shift
    "$PYTHON" -m venv "$folder/$name"
    "$folder/$name/bin/pip" install --quiet . "$@"
    "$folder/$name/bin/pip" freeze | grep -iE '^(grpcio|protobuf)='
    "$folder/$name/bin/ellq" compress "$folder/in.safetensors" -o "$folder/$name.safetensors" --quiet --server "$socket" \
        --rule tail --epsilon 0.1 --p 2 --json "$folder/$name.json"
    "$folder/$name/bin/ellq" verify "$folder/in.safetensors" "$folder/$name.safetensors" --report "$folder/$name.json"
}

try floor grpcio==1.78.0 protobuf==6.31.1 googleapis-common-protos==1.70.0 numpy==2.0.0 rich==13.9.0 typer==0.16.0
try newest
cmp "$folder/floor.safetensors" "$folder/newest.safetensors"
echo "2 passed, 0 failed"
