"""What Prometheus sees: the usual gRPC server metrics, and ellq's own."""

from collections.abc import Iterator

import grpc
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector

from ellq_server.admission import Admission
from ellq_server.log_writer import dropped_events

SECONDS_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900)
CALL_LABELS = ("grpc_type", "grpc_service", "grpc_method")
SERVICE = "ellq.v1.CompressionService"
METHODS = (("bidi_stream", "Analyze"), ("bidi_stream", "Compress"), ("unary", "GetCapabilities"))


class Metrics:
    """All metrics of one server, in a registry of their own."""

    def __init__(self, admission: Admission, *, memory_bytes: int) -> None:
        """Create every metric; gauges read the admission whenever they are scraped."""
        self.registry = registry = CollectorRegistry()
        self.started = Counter("grpc_server_started_total", "Calls that began.", CALL_LABELS, registry=registry)
        self.handled = Counter("grpc_server_handled_total", "Calls that ended.", (*CALL_LABELS, "grpc_code"), registry=registry)
        self.received = Counter("grpc_server_msg_received_total", "Messages received.", CALL_LABELS, registry=registry)
        self.sent = Counter("grpc_server_msg_sent_total", "Messages sent.", CALL_LABELS, registry=registry)
        self.handling = Histogram(
            "grpc_server_handling_seconds",
            "Seconds from start to end of a call.",
            CALL_LABELS,
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.received_bytes = Counter("ellq_received_bytes_total", "Bytes of safetensors streams received.", registry=registry)
        self.sent_bytes = Counter("ellq_sent_bytes_total", "Bytes of safetensors streams sent.", registry=registry)
        self.read_bytes = Counter("ellq_reference_read_bytes_total", "Bytes read by reference.", ("scheme",), registry=registry)
        self.written_bytes = Counter(
            "ellq_reference_written_bytes_total", "Bytes written by reference.", ("scheme",), registry=registry
        )
        self.weights = Counter("ellq_weights_total", "Weights measured, by dtype.", ("dtype",), registry=registry)
        self.kept_weights = Counter("ellq_kept_weights_total", "Weights kept by rules, by rule.", ("rule",), registry=registry)
        self.keep_ratio = Histogram(
            "ellq_keep_ratio", "Share of the weights of a tensor that a rule kept.", ("rule",),
            buckets=(0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0), registry=registry,
        )  # fmt: skip
        self.stage_seconds = Histogram(
            "ellq_stage_seconds",
            "Seconds that a tensor spent in a stage.",
            ("stage",),
            buckets=SECONDS_BUCKETS,
            registry=registry,
        )
        self.refusals = Counter("ellq_refusals_total", "Calls refused, by reason.", ("reason",), registry=registry)
        calls = Gauge("ellq_calls_in_flight", "Calls that hold a place.", registry=registry)
        calls.set_function(lambda: admission.calls)
        reserved = Gauge("ellq_memory_reserved_bytes", "Memory reserved for weights in flight.", registry=registry)
        reserved.set_function(lambda: admission.reserved_bytes)
        Gauge("ellq_memory_budget_bytes", "Memory that may be reserved.", registry=registry).set(memory_bytes)
        registry.register(_LogCollector())
        for kind, method in METHODS:  # so that rate() has a zero to start from
            labels = (kind, SERVICE, method)
            for metric in (self.started, self.received, self.sent, self.handling):
                metric.labels(*labels)
            for code in grpc.StatusCode:
                self.handled.labels(*labels, code.name)

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Record how long a tensor spent in a stage."""
        self.stage_seconds.labels(stage).observe(seconds)


class _LogCollector(Collector):
    """Reads the count where it is made: logging belongs to the process, not to a server in it."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        yield CounterMetricFamily("ellq_log_events_dropped", "Log events that nobody took in time.", value=dropped_events())
