"""A checkpoint fills a hole in a file, with the files that it imports in front of the prompt.

python examples/insert.py runs/mine/checkpoint ~/src/app app/main.py 12
"""

import sys
from pathlib import Path

from codling.corpus.context import RepositoryContext
from codling.engine.request import SamplingParams
from codling.engine.text import TextEngine
from codling.engine.verbs import read_cursor


def insert(checkpoint: Path, repository: Path, file: str, line: int) -> str:
    """What the model would write at the end of a line of `file`; `line` counts from 1."""
    context = RepositoryContext(repository)
    cursor = read_cursor(repository / file, line, None)
    params = SamplingParams(max_tokens=48, stop=("\n",))
    with TextEngine.open(checkpoint) as engine:
        prompt = engine.repository_prompt(
            context, cursor, insert=True, max_tokens=params.max_tokens
        )
        return engine.submit(prompt, params, mode="insert").result().text


if __name__ == "__main__":
    checkpoint, repository, file, line = sys.argv[1:]
    print(insert(Path(checkpoint), Path(repository), file, int(line)))
