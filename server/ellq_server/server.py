"""The assembled server: it starts, answers health checks while every worker is busy, and drains."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection
from prometheus_client import start_http_server

from ellq_kernels import Kernels, make_kernels, warm_up
from ellq_server import __version__
from ellq_server.admission import Admission
from ellq_server.call import House
from ellq_server.credentials import UnusableCertificate, credentials_of
from ellq_server.interceptor import MetricsInterceptor
from ellq_server.limits import limits_of
from ellq_server.listening import CannotListen, listen_on
from ellq_server.logs import log
from ellq_server.metrics import SERVICE, Metrics
from ellq_server.references.allowed import UnusablePrefix
from ellq_server.references.doors import Doors, ReferencesUnavailable
from ellq_server.servicer import CompressionServicer
from ellq_server.settings import Settings

SERVING = health_pb2.HealthCheckResponse.SERVING


class KernelsUnavailable(RuntimeError):
    """The kernels that were asked for cannot run here."""


UNUSABLE_SETTINGS = (KernelsUnavailable, UnusableCertificate, UnusablePrefix, ReferencesUnavailable)
"""What a Server raises when it is made: its settings do not go with this machine."""


class Server:
    """One server. `start`, then `drain`."""

    def __init__(self, settings: Settings) -> None:
        """Put everything together; nothing listens yet.

        Errors: UNUSABLE_SETTINGS.
        """
        self.settings = settings
        self._credentials = credentials_of(settings)
        limits = limits_of(settings)
        self._admission = Admission(concurrent_calls=limits.concurrent_calls, memory_bytes=limits.memory_bytes)
        self.metrics = Metrics(self._admission, memory_bytes=limits.memory_bytes)
        self._threads = ThreadPoolExecutor(limits.concurrent_calls, thread_name_prefix="ellq-call")
        self._doors = Doors(settings)
        self._house = House(_make_kernels(settings), limits, self._admission)
        self._health: Any = health.aio.HealthServicer()  # pyright: ignore[reportAttributeAccessIssue]
        self._stop_metrics = lambda: None
        self.leave = asyncio.Event()
        """Set when it is time to `drain`: by whoever runs the server, or because the device computes no more."""
        self.device_lost = False

    async def start(self) -> None:
        """Listen and serve. Errors: CannotListen."""
        settings = self.settings
        # compiled or loaded before anybody is told SERVING, so that no call pays for it and no probe passes too early
        await asyncio.get_running_loop().run_in_executor(self._threads, warm_up, self._house.kernels)
        self._server = grpc.aio.server(interceptors=[MetricsInterceptor(self.metrics)], options=_options(settings))
        servicer = CompressionServicer(
            self._house, self._doors, self.metrics, self._threads, settings.idle_seconds, self._lose_device
        )
        servicer.add_to(self._server)
        self._serve_health(self._server)
        if settings.reflection:
            reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        listen_on(self._server, settings.listen, self._credentials)
        self._health_server = grpc.aio.server(options=_options(settings))
        if settings.health_listen:  # for the kubelet, whose probes know no TLS
            self._serve_health(self._health_server)
            listen_on(self._health_server, settings.health_listen, None)
        self._serve_metrics()
        await self._server.start()
        await self._health_server.start()
        await self._health.set("", SERVING)
        await self._health.set(SERVICE, SERVING)
        log.info(
            "serving",
            listen=settings.listen,
            tls=self._credentials is not None,
            metrics_port=settings.metrics_port,
            kernels=settings.kernels,
            version=__version__,
        )

    async def drain(self) -> None:
        """Announce NOT_SERVING, refuse new calls, let running ones finish, stop."""
        log.info("draining", calls=self._admission.calls)
        await self._health.enter_graceful_shutdown()
        await asyncio.sleep(self.settings.drain_delay_seconds)  # time for load balancers to look away
        self._admission.close()
        await self._server.stop(self.settings.drain_seconds)
        await self._doors.settle()
        await self._health_server.stop(0)  # last: until then it says NOT_SERVING
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._stop_metrics()
        log.info("stopped", abandoned_calls=self._admission.calls)

    @property
    def busy(self) -> bool:
        """Whether a call still computes: after `drain`, one that outlived its time."""
        return self._admission.calls > 0

    def _lose_device(self) -> None:
        self.device_lost = True
        self.leave.set()

    def _serve_health(self, server: grpc.aio.Server) -> None:
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)

    def _serve_metrics(self) -> None:
        if not self.settings.metrics_port:
            return
        try:
            page, _ = start_http_server(self.settings.metrics_port, registry=self.metrics.registry)
        except OSError as error:
            raise CannotListen(f"cannot serve metrics on port {self.settings.metrics_port}: {error}") from error
        self._stop_metrics = page.shutdown


def _make_kernels(settings: Settings) -> Kernels:
    try:
        return make_kernels(settings.kernels, threads=settings.threads or None)
    except ImportError as error:
        message = f"{settings.kernels} kernels cannot be loaded: {error}"
        if isinstance(error, ModuleNotFoundError) and "." not in (error.name or "."):  # a package, and no part of one
            extra = {"cpu": "server", "triton": "gpu"}.get(settings.kernels, "torch")
            message = f"{settings.kernels} kernels need a package that is not installed ({error}): pip install 'ellq[{extra}]'"
        raise KernelsUnavailable(message) from error
    except RuntimeError as error:
        raise KernelsUnavailable(str(error)) from error


def _options(settings: Settings) -> list[tuple[str, int]]:
    return [
        ("grpc.max_connection_age_ms", round(settings.connection_age_seconds * 1000)),
        ("grpc.keepalive_time_ms", 60_000),  # a host that vanished is noticed
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ("grpc.http2.min_recv_ping_interval_without_data_ms", 30_000),
        ("grpc.http2.max_frame_size", 1 << 20),  # fewer frames for the same bytes
        # a window of our own choice: by default it grows with what a stalled stream seems able to take, to hundreds of MB
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 8 << 20),
        ("grpc.so_reuseport", 0),  # a second server on the same port must fail, not share
    ]
