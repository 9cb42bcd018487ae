"""What the server counts, for Prometheus (GET /metrics).

Each app has its own registry, so that several apps can live in one process.

Not here: training metrics (core/log.py).
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.35, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """The counters of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        own = self.registry
        self.requests = Counter(
            "codling_requests",
            "Requests answered, by address and status",
            ["path", "status"],
            registry=own,
        )
        self.seconds = Histogram(
            "codling_request_seconds",
            "Time until the last byte",
            ["path"],
            buckets=_SECONDS,
            registry=own,
        )
        self.first_token_seconds = Histogram(
            "codling_first_token_seconds",
            "Time until the first text",
            buckets=_SECONDS,
            registry=own,
        )
        self.prompt_tokens = Counter(
            "codling_prompt_tokens", "Prompt tokens taken in", registry=own
        )
        self.cached_tokens = Counter(
            "codling_cached_prompt_tokens",
            "Prompt tokens whose keys and values were in the cache",
            registry=own,
        )
        self.generated_tokens = Counter(
            "codling_generated_tokens", "Tokens generated", registry=own
        )
        self.drafted_tokens = Counter(
            "codling_drafted_tokens", "Guessed tokens that the model read", registry=own
        )
        self.accepted_tokens = Counter(
            "codling_accepted_draft_tokens",
            "Guessed tokens that the model chose: each saved a pass",
            registry=own,
        )
        self.running = Gauge(
            "codling_completions_running", "Completions computed or waiting", registry=own
        )
        self.cancelled = Counter(
            "codling_completions_cancelled",
            "Completions ended early, by reason",
            ["reason"],
            registry=own,
        )

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)
