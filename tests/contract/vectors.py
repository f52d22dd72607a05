"""Golden requests and answers in proto/vectors, readable from any language. Written by `make vectors`.

Each file is one call: `method`, `options` (the options frame in protobuf's JSON form), `stream` (the safetensors bytes in
base64), and either `refusal` (canonical code and ErrorReason) or `data` (the answer's bytes in base64, Compress only) and
`reports` (in protobuf's JSON form). Counts, bytes and digests are exact; floating point values hold to 1e-12.
"""

import base64
import json
from pathlib import Path

import grpc
import ml_dtypes
import numpy as np
from google.protobuf import json_format

from ellq.v1 import compression_pb2 as pb
from tests.server.wire import HALF, Caller, cut, gather, read_refusal, stream_of

FOLDER = Path(__file__).parents[2] / "proto/vectors"

SMALL = np.array([[3, -1, 0.5, 0, 2, -4], [1, 1, 1, 1, 1, 1], [0, 0, 0, 0, 0, 0], [1e-3, 7, -7, 1e3, 0, 2]])
NEURON, LAYER, GLOBAL = pb.SCOPE_NEURON, pb.SCOPE_LAYER, pb.SCOPE_GLOBAL


def requests() -> dict[str, tuple[pb.AnalyzeOptions | pb.CompressOptions, bytes]]:
    """Return every vector's request by its file name."""
    one = stream_of({"w": SMALL.astype(np.float32), "b": np.ones(4, np.float32)})
    two = stream_of({"a": SMALL.astype(np.float16), "b": (SMALL.T / 2).astype(np.float64)}, metadata={"format": "pt"})

    def rule(scope: pb.Scope = NEURON, **kind: object) -> pb.CompressOptions:
        return pb.CompressOptions(rule=pb.Rule(scope=scope, **kind))

    eight = stream_of(
        {
            "a.weight_scale": np.array([[0.5], [3], [1e-3], [0.1]], np.float32),
            "a.weight": (SMALL / 4).astype(ml_dtypes.float8_e4m3fn),
            "q.qweight": np.ones((1, 2), np.int32),
            "q.qzeros": np.ones((1, 1), np.int32),
            "q.scales": SMALL.astype(np.float16),
        }
    )
    masked = stream_of({"w": ((np.arange(91 * 91) * 37 % 101 - 50) / 8).reshape(91, 91), "b": np.ones(4, np.float32)})
    nan = SMALL.astype(np.float32)
    nan[1, 2] = np.nan
    return {
        "analyze_indices": (pb.AnalyzeOptions(), one),
        "sparsity_index_neuron": (rule(sparsity_index=pb.SparsityIndexRule(q=0.5)), one),
        "sparsity_index_global": (rule(GLOBAL, sparsity_index=pb.SparsityIndexRule(q=0.3, eta=0.1)), two),
        "pq_index_layer": (rule(LAYER, pq_index=pb.PqIndexRule(p=0.5, q=1, gamma=1, beta=0.9)), two),
        "tail_l1_neuron": (rule(tail=pb.TailRule(epsilon=0.25, p=1)), one),
        "tail_l2_global": (rule(GLOBAL, tail=pb.TailRule(epsilon=0.01, p=2)), two),
        "lq_bound_layer": (rule(LAYER, lq_bound=pb.LqBoundRule(epsilon=0.5, q=0.5, p=2)), one),
        "fraction_neuron_ties": (rule(fraction=pb.FractionRule(pruned_ratio=0.5)), one),
        "fraction_masked": (
            pb.CompressOptions(rule=HALF, delivery=pb.DELIVERY_MASK),
            masked,  # long enough for a mask, whose last byte is not full
        ),
        "n_of_m": (rule(n_of_m=pb.NOfMRule(n=2, m=4)), one),
        "tail_l2_float8_beside_awq": (rule(tail=pb.TailRule(epsilon=0.25, p=2)), eight),
        "refused_q": (rule(sparsity_index=pb.SparsityIndexRule(q=1)), one),
        "refused_nan": (rule(fraction=pb.FractionRule(pruned_ratio=0.5)), stream_of({"w": nan})),
        "refused_truncated": (rule(fraction=pb.FractionRule(pruned_ratio=0.5)), one[:-1]),
    }


def answer(caller: Caller, options: pb.AnalyzeOptions | pb.CompressOptions, stream: bytes) -> dict[str, object]:
    """Return what the service says, in the form of the files."""
    analyzes = isinstance(options, pb.AnalyzeOptions)
    frame = pb.AnalyzeRequest if analyzes else pb.CompressRequest
    call = caller.stub.Analyze if analyzes else caller.stub.Compress
    try:
        found = gather(call(iter([frame(options=options), *(frame(data=data) for data in cut(stream, 1 << 20))]), timeout=60))
    except grpc.RpcError as error:
        refusal = read_refusal(error)
        return {"refusal": {"code": refusal.code.name, "reason": refusal.reason}}
    reports = [json_format.MessageToDict(report) for report in found.reports.values()]
    return {"reports": reports} | ({} if analyzes else {"data": base64.b64encode(found.data).decode()})


def write(caller: Caller) -> None:
    """Write every vector from what this service says now. Look at the difference before you commit it."""
    for name, (options, stream) in requests().items():
        asked = {
            "method": "Analyze" if isinstance(options, pb.AnalyzeOptions) else "Compress",
            "options": json_format.MessageToDict(options),
            "stream": base64.b64encode(stream).decode(),
        }
        text = json.dumps(asked | answer(caller, options, stream), indent=1, ensure_ascii=False)
        (FOLDER / f"{name}.json").write_text(text + "\n")


if __name__ == "__main__":
    import tempfile

    from ellq_server import embedded

    with tempfile.TemporaryDirectory() as folder:
        server = embedded.start(f"{folder}/s")
        write(Caller(f"unix:{folder}/s"))
        server.stop()
