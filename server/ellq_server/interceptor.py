"""Counts every call on its way in and out."""

import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
from prometheus_client import Counter

from ellq_server.metrics import Metrics


class MetricsInterceptor(grpc.aio.ServerInterceptor):
    """Counts calls, messages and seconds of every method, whatever its kind."""

    def __init__(self, metrics: Metrics) -> None:
        """Write to these metrics."""
        self._metrics = metrics

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """Wrap the method's handler."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return handler
        _, service, method = handler_call_details.method.split("/", 2)
        if inspect.iscoroutinefunction(handler.stream_stream):
            counted = self._counted_writes(service, method, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(counted, handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming and handler.response_streaming:
            counted = self._counted("bidi_stream", service, method, handler.stream_stream)
            return grpc.stream_stream_rpc_method_handler(counted, handler.request_deserializer, handler.response_serializer)
        if handler.response_streaming:
            counted = self._counted("server_stream", service, method, handler.unary_stream)
            return grpc.unary_stream_rpc_method_handler(counted, handler.request_deserializer, handler.response_serializer)
        if handler.request_streaming:
            return handler
        counted_unary = self._counted_unary(service, method, handler.unary_unary)
        return grpc.unary_unary_rpc_method_handler(counted_unary, handler.request_deserializer, handler.response_serializer)

    def _counted(
        self, kind: str, service: str, method: str, behaviour: Callable[..., AsyncIterator[Any]]
    ) -> Callable[..., AsyncIterator[Any]]:
        labels = (kind, service, method)

        async def counted(request: Any, context: grpc.aio.ServicerContext) -> AsyncIterator[Any]:
            async with _Call(self._metrics, labels, context):
                if kind == "bidi_stream":
                    request = self._counting(request, labels)
                else:
                    self._metrics.received.labels(*labels).inc()
                sent = self._metrics.sent.labels(*labels)
                # health and reflection hand out plain iterators that nobody needs to close
                async for response in behaviour(request, context):
                    sent.inc()
                    yield response

        return counted

    def _counted_writes(
        self, service: str, method: str, behaviour: Callable[..., Awaitable[None]]
    ) -> Callable[..., Awaitable[None]]:
        labels = ("bidi_stream", service, method)

        async def counted(requests: AsyncIterator[Any], context: grpc.aio.ServicerContext) -> None:
            async with _Call(self._metrics, labels, context):
                counting = _CountingContext(context, self._metrics.sent.labels(*labels))
                await behaviour(self._counting(requests, labels), counting)

        return counted

    def _counted_unary(
        self, service: str, method: str, behaviour: Callable[..., Awaitable[Any]]
    ) -> Callable[..., Awaitable[Any]]:
        labels = ("unary", service, method)

        async def counted(request: Any, context: grpc.aio.ServicerContext) -> Any:
            async with _Call(self._metrics, labels, context):
                self._metrics.received.labels(*labels).inc()
                response = await behaviour(request, context)
                self._metrics.sent.labels(*labels).inc()
                return response

        return counted

    async def _counting(self, requests: AsyncIterator[Any], labels: tuple[str, str, str]) -> AsyncIterator[Any]:
        received = self._metrics.received.labels(*labels)
        async for request in requests:
            received.inc()
            yield request


class _CountingContext:
    """A context that counts what is written through it."""

    def __init__(self, context: grpc.aio.ServicerContext, sent: Counter) -> None:
        self._context = context
        self._sent = sent

    def __getattr__(self, name: str) -> Any:
        return getattr(self._context, name)

    async def write(self, message: Any) -> None:
        await self._context.write(message)
        self._sent.inc()


class _Call:
    """Counts one call, from start to end, whatever the end."""

    def __init__(self, metrics: Metrics, labels: tuple[str, str, str], context: grpc.aio.ServicerContext) -> None:
        self._metrics = metrics
        self._labels = labels
        self._context = context
        self._started = time.perf_counter()

    async def __aenter__(self) -> None:
        self._metrics.started.labels(*self._labels).inc()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        self._metrics.handled.labels(*self._labels, self._code(error).name).inc()
        self._metrics.handling.labels(*self._labels).observe(time.perf_counter() - self._started)

    def _code(self, error: BaseException | None) -> grpc.StatusCode:
        code = self._context.code()
        if isinstance(code, grpc.StatusCode) and code is not grpc.StatusCode.OK:
            return code
        if isinstance(code, int) and code:
            return next(known for known in grpc.StatusCode if known.value[0] == code)
        if error is None:
            return grpc.StatusCode.OK
        left = self._context.time_remaining()
        if left is not None and left <= 0:
            return grpc.StatusCode.DEADLINE_EXCEEDED  # the library tells it as a cancellation
        return (
            grpc.StatusCode.CANCELLED
            if self._context.cancelled() or not isinstance(error, Exception)
            else grpc.StatusCode.UNKNOWN
        )
