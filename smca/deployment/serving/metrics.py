"""What `/metrics` tells, in Prometheus's text format: requests, seconds, batches, pictures that wait, the process."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("path", "status")
        self.requests = Counter("smca_requests", "Requests by path and status.", labels, registry=registry)
        self.seconds = Histogram(
            "smca_request_seconds",
            "From a request's head to its answer.",
            ("path",),
            registry=registry,
            buckets=SECONDS,
        )
        self.batch = Histogram(
            "smca_batch_images", "Images that went through the model together.", registry=registry, buckets=IMAGES
        )
        self.model = Histogram("smca_model_seconds", "One batch in the model.", registry=registry, buckets=SECONDS)
        self.waiting = Gauge("smca_waiting_requests", "Predictions and explanations in progress.", registry=registry)
        ProcessCollector(registry=registry)
