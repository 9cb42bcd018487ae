"""The frame of a stage: what it reads is opened and named, and its work done unless it was.

A stage is a function of its config that yields once. Before the `yield` it opens and checks, on
every call; what it yields are the inputs of its artefact. After it stands the work, which runs
only where the artefact is not there yet, and fills the draft that the `yield` returns:

    @stage("samples", version=2)
    def arrange(config: ArrangeConfig) -> Work:
        documents = open_artifact(config.documents_dir, "documents")
        draft = yield [documents]
        draft.counts |= map_shards(draft, _tasks(documents), arrange_shard, config, label="arrange")

Its caller sees a plain function from config to Artifact.

Not here: when an artefact is there (artifact.py), and how work is shared (shards.py).
"""

import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, Protocol, TypeVar

from codling.core.artifact import Artifact, Draft, Input, produce
from codling.core.errors import CodlingError

Work = Generator[Sequence[Artifact | Input], Draft, None]
"""A stage on its way: it yields its inputs, and is given the draft to fill."""


class StageConfig(Protocol):
    """What the frame needs to know of a stage's settings."""

    @property
    def out_dir(self) -> Path | None:
        """Folder of the artefact; where it may be absent, the stage has refused that itself."""


class Producer(Protocol):
    """`produce`, or something that does as it does, such as training on several processes."""

    def __call__(  # noqa: PLR0913  the five parts of an identity, and the work
        self,
        out_dir: Path,
        *,
        kind: str,
        version: int,
        config: object,
        inputs: Sequence[Artifact | Input],
        work: Callable[[Draft], None],
    ) -> Artifact:
        """The artefact at `out_dir`, made by `work` unless it is there already."""


Config = TypeVar("Config", bound=StageConfig)


def stage(
    kind: str | Callable[[Any], str], *, version: int, produce: Producer = produce
) -> Callable[[Callable[[Config], Work]], Callable[[Config], Artifact]]:
    """Turn a function that yields its inputs into a stage that makes an artefact of `kind`.

    The artefact lies in the config's `out_dir`. Raise `version` when the same settings give
    something else: existing artefacts are then made again. `kind` may depend on the config.
    """

    def frame(steps_of: Callable[[Config], Work]) -> Callable[[Config], Artifact]:
        @wraps(steps_of)
        def run(config: Config) -> Artifact:
            with closing(steps_of(config)) as steps:
                inputs = next(steps)
                assert config.out_dir is not None
                return produce(
                    config.out_dir,
                    kind=kind if isinstance(kind, str) else kind(config),
                    version=version,
                    config=config,
                    inputs=inputs,
                    work=lambda draft: _finish(steps, draft),
                )

        return run

    return frame


def _finish(steps: Work, draft: Draft) -> None:
    try:
        steps.send(draft)
    except StopIteration:
        return
    raise AssertionError("a stage yields once")


@contextmanager
def dropped_on(draft: Draft, *refusals: type[CodlingError]) -> Iterator[None]:
    """Within the block these errors leave nothing behind: no half of what a bad input would give.

    For work whose every attempt begins anew; a training run keeps what it has learned.
    """
    try:
        yield
    except refusals:
        shutil.rmtree(draft.path, ignore_errors=True)
        raise
