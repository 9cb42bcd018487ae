"""Settings of `codling evaluate`. No torch here: the command line reads it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from codling.core.ranges import (
    MAX_CONTEXT,
    Count,
    CountFromZero,
    PositiveShare,
    Range,
    Ranged,
    SecondsFromZero,
    Seed,
    Temperature,
    Workers,
    WorkersFromZero,
)
from codling.core.recipe import aside
from codling.engine.config import FORMER_NAMES, Precision

Style = Literal["base", "instruct"]
Verdicts = Literal["strict", "deepseek"]
Choices = Literal["task", "letters", "texts", "words"]
Ranking = Literal["task", "sum", "length", "alone"]


@dataclass(frozen=True, kw_only=True)
class BenchmarkConfig(Ranged):
    """Settings of one run of one benchmark."""

    RENAMED: ClassVar[Mapping[str, str]] = FORMER_NAMES

    benchmark: str
    """Name of the benchmark, or a file of your own; "list" shows all, "doctor" what runs here,
    "suite NAME" runs the tables of a README (coder, v2-base, v2-chat, coder-v2)."""
    model: Path | None = aside(None)
    """A run's folder, a checkpoint's folder, a .gguf file, or ORGANISATION/MODEL on the hub, to
    evaluate with our own engine."""
    adapter: Path | None = aside(None)
    """Adapter (codling adapt, or peft's LoRA) that is added to the model's weights."""
    api: str | None = aside(None)
    """Base URL of an OpenAI-compatible server instead, for example http://localhost:8000/v1."""
    api_model: str = ""
    """The model's name at that server."""
    api_key_variable: str = aside("OPENAI_API_KEY")
    """Environment variable that holds the server's key."""
    judge_api: str | None = aside(None)
    """Base URL of the server of a judge model, for benchmarks whose answers a model judges."""
    judge_model: str = ""
    """The judge's name at that server."""
    judge_key_variable: str = aside("OPENAI_API_KEY")
    """Environment variable that holds the key of the judge's server."""
    samples: Path | None = aside(None)
    """File or folder of answers made elsewhere (human-eval, EvalPlus, MultiPL-E, DS-1000, bigcode,
    CRUXEval)."""
    judgments: Path | None = aside(None)
    """File or folder of judgments made elsewhere, in the form in which the benchmark's authors
    publish them: they are scored, nothing is asked."""
    raw: bool = False
    """The samples are answers of a chat model: cut the code out of them as with --style
    instruct."""
    canonical: bool = False
    """Judge the benchmark's own solutions instead of a model's."""
    data_dir: Path = aside(Path("benchmark-data"))
    """Folder of the benchmarks' files, one folder each (see docs/evaluation.md)."""
    data_file: Path | None = aside(None)
    """Another edition of the benchmark's one file, for example MbppPlus-v0.1.0.jsonl.gz."""
    out_dir: Path | None = aside(None)
    """Folder of the report (all but "list" and "doctor" need it); what was generated and run is
    kept beside it in NAME.rows."""
    style: Style = "base"
    """Continue the prompt ("base"), or ask for the answer in a chat ("instruct")."""
    language: str = ""
    """Language of a benchmark that has several, for example cpp."""
    subset: str = ""
    """Part of a benchmark that has several, for example gsm8k or single-line."""
    choices: Choices = "task"
    """Multiple choice: the likeliest letter, the likeliest text of an option, in words, or as the
    benchmark has it (base models by likelihood, chats in words)."""
    ranking: Ranking = "task"
    """How likelihoods of options are compared: their sum, per character ("length"), less what the
    option has without the question ("alone"), or as the benchmark has it."""
    shots: CountFromZero | None = None
    """Solved examples before a question, at most; without it the benchmark's own number."""
    instruction: str = ""
    """Own wording of the instruction; {language} and {prompt} are replaced."""
    n_samples: Count = 1
    """Answers per problem."""
    k: tuple[Count, ...] = (1, 10, 100)
    """Which pass@k to report, as far as there are k samples of every problem."""
    temperature: Temperature = 0.0
    """0 is greedy."""
    top_p: PositiveShare = 0.95
    """Nucleus, when sampling."""
    seed: Seed = 0
    """Seed of the sampling and of the confidence intervals."""
    max_tokens: CountFromZero = 0
    """Tokens per answer at most; 0 takes the benchmark's own number."""
    max_length: Annotated[int, Range(0, MAX_CONTEXT, why="tokens")] = aside(0)
    """Tokens of prompt and answer together in our own engine; 0 takes the model's own, as far as
    the memory allows."""
    precision: Precision = "auto"
    """Number type of our own engine (see `codling serve`)."""
    limit: CountFromZero = 0
    """Only this many problems, from the first; 0 means all."""
    timeout: SecondsFromZero = 0.0
    """Seconds for one program; 0 takes the benchmark's own number."""
    verdicts: Verdicts = "strict"
    """"strict" requires proof that a program ran to its end; "deepseek" trusts exit codes as their
    scripts do."""
    extraction: Literal["own", "deepseek"] = "own"
    """How code is cut out of chat answers: "own" takes the code that the answer stands for,
    "deepseek" is the rule of DeepSeek-Coder's scripts."""
    imports: Literal["harness", "common", "none"] = "harness"
    """Imports before Python answers: as the benchmark's own harness does, the common ones, or
    none."""
    python: Path | None = aside(None)
    """Interpreter that runs Python programs, for example of a virtual environment with DS-1000's
    libraries; the one that runs codling if none is given."""
    workers: WorkersFromZero = aside(0)
    """Programs that run at once; 0: as many as processors."""
    concurrency: Workers = aside(8)
    """Requests at once."""
    unsafe: bool = aside(False)
    """Run programs without bubblewrap. They can then read and change whatever you can."""

    @property
    def model_name(self) -> str:
        """What reports call the model that answers."""
        path = self.model or self.samples
        return self.api_model or (path.name.partition(".")[0] if path else "") or "model"
