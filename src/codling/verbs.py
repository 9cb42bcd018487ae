"""The verbs of the command line, in the order of the data.

A verb is a function with one typed config, named here by its import string, so that `codling
--help` loads no stage.

Not here: reading a command line (cli.py).
"""

from dataclasses import dataclass

GROUPS = {
    "data": "Data creation, stage by stage: sources to ordered samples.",
}


@dataclass(frozen=True)
class Verb:
    """One subcommand: its name, the function behind it, and what `codling --help` says of it."""

    name: str
    """One word, or two for a verb of a group: "data graph"."""
    target: str
    help: str
    positional: str | None = None
    """The config's field that plain arguments fill."""
    takes_words: bool = False
    """Flags that codling does not know are for the stage to read, with all other words."""
    own_table: str | None = None
    """The recipe's table, where it is not named like the verb."""
    takes_ranks: bool = False
    """Several processes may run it together, started by torchrun."""

    @property
    def table(self) -> str:
        """The recipe's table of the verb's settings."""
        return self.own_table or self.name.split()[-1].replace("-", "_")


VERBS = (
    Verb(
        "grow",
        "codling.pipeline:grow",
        "From repositories to a code model with report: the whole path in one command.",
        "sources",
    ),
    Verb(
        "data collect",
        "codling.corpus.collect:collect",
        "Read repositories, folders and archives into documents with licences.",
        "sources",
    ),
    Verb(
        "data prose",
        "codling.corpus.prose.prose:prose",
        "Running text in English or Chinese: StackExchange, Markdown, corpora of text.",
        "sources",
    ),
    Verb(
        "data clean",
        "codling.corpus.clean:clean",
        "Licence gate, quality filters, redaction of secrets, exact duplicates.",
    ),
    Verb(
        "data dedup",
        "codling.corpus.dedup:dedup",
        "Remove near-duplicate repositories or files: MinHash, verified by exact similarity.",
    ),
    Verb(
        "data decontaminate",
        "codling.corpus.decontaminate:decontaminate",
        "Remove documents that hold parts of benchmarks.",
    ),
    Verb(
        "data screen",
        "codling.corpus.screen:screen",
        "Remove documents that do not parse.",
    ),
    Verb(
        "data graph",
        "codling.report.graph:graph",
        "Which files of a repository depend on which, as text and as a drawing.",
        "path",
    ),
    Verb(
        "data arrange",
        "codling.corpus.arrange:arrange",
        "Order each repository's files by their dependencies and join them.",
    ),
    Verb(
        "data mix",
        "codling.corpus.mixture:mix",
        "Draw several corpora into one, by shares of tokens.",
        "parts",
    ),
    Verb(
        "data recall",
        "codling.corpus.selection.recall:recall",
        "Find the pages of a crawl that are like some seeds, in rounds.",
    ),
    Verb(
        "data quality",
        "codling.corpus.selection.quality:quality",
        "Train a small quality model on labelled examples, and score documents.",
    ),
    Verb(
        "data card",
        "codling.report.card:card",
        "What a corpus is made of: composition, drops, redactions, samples to read.",
    ),
    Verb(
        "learn-tokenizer",
        "codling.tokens.bpe:learn_tokenizer",
        "Train a byte-level BPE tokenizer on the samples.",
        own_table="tokenizer",
    ),
    Verb("pack", "codling.tokens.pack:pack", "Turn samples into windows of tokens, with FIM."),
    Verb(
        "pretrain",
        "codling.train.pretrain:pretrain",
        "Train a model on packed tokens, resumably.",
        takes_ranks=True,
    ),
    Verb(
        "extend",
        "codling.train.extend:extend",
        "Give a checkpoint a longer context.",
        takes_ranks=True,
    ),
    Verb(
        "adopt",
        "codling.posttrain.adopt:adopt",
        "Take over the tokenizer of a published model, for packing.",
        "model",
    ),
    Verb(
        "data accepted",
        "codling.corpus.accepted:accepted",
        "Completions that were taken, or typed instead, as training rows.",
        "file",
    ),
    Verb(
        "data dialogues",
        "codling.tokens.dialogues:dialogues",
        "Instruction data as people have it: tokens of which only the answers count.",
        "files",
    ),
    Verb(
        "data tasks",
        "codling.posttrain.tasks.tasks:tasks",
        "Prompts with tests: published rows, made-up ones, your own repository's unit tests.",
        "sources",
    ),
    Verb(
        "replay",
        "codling.posttrain.replay:replay",
        "Pack other code, which adapting mixes in against forgetting.",
        "path",
    ),
    Verb(
        "adapt",
        "codling.posttrain.adapt:adapt",
        "Adapt a published model to packed tokens: LoRA, or all weights.",
        takes_ranks=True,
    ),
    Verb(
        "tune",
        "codling.posttrain.tune:tune",
        "Teach a published model to answer: LoRA, or all weights, loss on answers only.",
        takes_ranks=True,
    ),
    Verb(
        "finetune",
        "codling.posttrain.finetune:finetune",
        "DeepSeek-Coder's published fine-tuning command, with its flags of 2023.",
        "words",
        takes_words=True,
        takes_ranks=True,
    ),
    Verb(
        "dpo",
        "codling.posttrain.dpo:dpo",
        "Teach a tuned model which of two answers is better (DPO).",
        "files",
        takes_ranks=True,
    ),
    Verb(
        "reward-model",
        "codling.posttrain.reward_model:reward_model",
        "Train a reward model on the sandbox's verdicts: pairs and points.",
        "rollouts",
    ),
    Verb(
        "grpo",
        "codling.posttrain.grpo:grpo",
        "Learn from the tests that the model's own answers pass (GRPO).",
        "tasks_dir",
    ),
    Verb(
        "score-tasks",
        "codling.posttrain.score_tasks:score_tasks",
        "How many of a model's answers pass the hidden tests of held-out prompts.",
        "tasks_dir",
    ),
    Verb(
        "learning-report",
        "codling.posttrain.learning_report:learning_report",
        "One page of a run that learned from tests: each stage's held-out score.",
    ),
    Verb(
        "merge",
        "codling.posttrain.merge:merge",
        "Add an adapter to its base: a plain checkpoint.",
    ),
    Verb(
        "export",
        "codling.export.export:export",
        "Write a model for llama.cpp and Ollama (GGUF), transformers and vLLM.",
        "model",
    ),
    Verb(
        "score",
        "codling.evaluate.heldout.score:score",
        "Bits per byte and insertion on held-out code, beside an n-gram baseline.",
    ),
    Verb(
        "score-commits",
        "codling.evaluate.heldout.score_commits:score_commits",
        "Ask about lines that later commits added: base, context, memory, tuning, one table.",
        "repo",
    ),
    Verb(
        "memory",
        "codling.engine.remember:memory",
        "Index a repository, so that completions can repeat what stands in it.",
        "path",
    ),
    Verb(
        "compare",
        "codling.evaluate.heldout.compare:compare",
        "A base and its adapted model on the same held-out questions: did it help?",
    ),
    Verb("report", "codling.report.run_page:report", "One self-contained HTML page of a run."),
    Verb(
        "watch",
        "codling.report.watch:watch",
        "What runs of training are doing, live on one local page, side by side.",
        "runs",
    ),
    Verb(
        "evaluate",
        "codling.evaluate.benchmark:evaluate",
        "Run a published benchmark on a model or an API; `doctor` lists the toolchains.",
        "benchmark",
    ),
    Verb(
        "run-untrusted",
        "codling.sandbox.untrusted:run_untrusted",
        "Run an untrusted Python file in the sandbox.",
        "file",
    ),
    Verb("complete", "codling.engine.verbs:complete", "Continue a prompt or a file.", "model"),
    Verb("insert", "codling.engine.verbs:insert", "Fill the hole at a cursor in a file.", "model"),
    Verb("chat", "codling.engine.verbs:chat", "Talk to an instruction-tuned model.", "model"),
    Verb("serve", "codling.serve.app:serve", "OpenAI-compatible server and editor page.", "model"),
    Verb(
        "calibrate",
        "codling.evaluate.calibrate:calibrate",
        "From which confidence on a model's suggestions are worth showing.",
        "model",
    ),
    Verb(
        "info",
        "codling.checkpoint.info:info",
        "Architecture, parameters, cache and memory of a preset or checkpoint.",
        "model",
    ),
    Verb(
        "plan",
        "codling.train.cluster_plan:plan",
        "Memory per GPU, days and energy of training a recipe on a cluster.",
        "model",
    ),
    Verb(
        "trace",
        "codling.core.lineage:trace",
        "From an artefact back to the files and licences it was made from.",
        "path",
    ),
    Verb(
        "completion",
        "codling.cli:completion",
        "A script with which the shell completes verbs and flags.",
        "shell",
    ),
)
TARGETS = {verb.table: verb.target for verb in VERBS}
"""Recipe table -> the function that it sets."""
