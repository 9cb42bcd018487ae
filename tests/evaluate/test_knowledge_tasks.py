"""Multiple choice and short answers: how they are asked, read and compared, as their authors do."""

from dataclasses import replace

import pytest

from codling.evaluate.choices import (
    MultiChoice,
    Wording,
    ask_choice,
    extract_letter,
    make_problem,
)
from codling.evaluate.config import BenchmarkConfig
from codling.evaluate.harness import Sample
from codling.evaluate.scoreboard import summarise
from codling.evaluate.task import Problem, Prompt
from codling.evaluate.tasks import find_task
from codling.grading.math_string import cloze_answer, same_string

CONFIG = BenchmarkConfig(benchmark="mine")
SKY = MultiChoice(
    question="What colour is the sky?", options=("green", "blue", "dark red"), right=1
)
SEA = MultiChoice(question="And the sea?", options=("blue", "pink"), right=0)
PROBLEM = make_problem("sky", SKY, [SEA], Wording(head="Colours.\n\n"))


def test_letters_are_ranked_after_the_options_are_shown():
    asked = ask_choice(PROBLEM, CONFIG)
    assert asked.text == (
        "Colours.\n\nAnd the sea?\nA. blue\nB. pink\nAnswer: A\n\n"
        "What colour is the sky?\nA. green\nB. blue\nC. dark red\nAnswer:"
    )
    assert asked.options == (" A", " B", " C")


def test_tables_keep_the_line_ends_inside_of_their_cells(tmp_path):
    for part, question in (("dev", "Seen:\r\nI. x?"), ("test", "Asked:\r\nII. y?")):
        path = tmp_path / "mmlu" / part / f"sums_{part}.csv"
        path.parent.mkdir(parents=True)
        header = "\ufeffquestion,A,B,C,D,answer\n"  # a mark that Excel writes is no part of a name
        path.write_bytes(f'{header}"{question}",a,b,c,d,C\r\n'.encode())
    mmlu = find_task("mmlu")
    (problem,) = mmlu.load(tmp_path, CONFIG)
    text = mmlu.prompt(problem, CONFIG).text
    assert text is not None
    assert "\n\nSeen:\r\nI. x?\nA. a\n" in text
    assert text.endswith("\n\nAsked:\r\nII. y?\nA. a\nB. b\nC. c\nD. d\nAnswer:")


def test_texts_are_ranked_without_being_shown():
    asked = ask_choice(PROBLEM, replace(CONFIG, choices="texts", shots=0, ranking="length"))
    assert asked.text == "Colours.\n\nQuestion: What colour is the sky?\nAnswer:"
    assert asked.options == (" green", " blue", " dark red")
    assert extract_letter(PROBLEM, " blue", "base") == "B"


def test_chats_are_asked_in_words():
    asked = ask_choice(PROBLEM, replace(CONFIG, style="instruct", shots=0))
    assert asked.messages is not None
    assert asked.messages[0]["content"].endswith("C. dark red\nAnswer:\nReply with the letter of the right answer only.")  # noqa: E501  # fmt: skip
    base = ask_choice(PROBLEM, replace(CONFIG, choices="words"))
    assert (base.options, base.messages) == ((), None)


@pytest.mark.parametrize(
    ("said", "letter"),
    [
        ("B", "B"),
        (" B. blue", "B"),
        ("The answer is (C).", "C"),
        ("A good question. The answer is **B**", "B"),
        ("答案是C", "C"),
        ("<think>A? no</think>I choose C", "C"),
        ("D", ""),
        ("Because", ""),
        ("", ""),
    ],
)
def test_a_letter_is_read_from_what_a_chat_says(said, letter):
    assert extract_letter(PROBLEM, said, "instruct") == letter


@pytest.mark.parametrize(
    ("ranking", "best"), [("sum", " a"), ("length", " bbbb"), ("alone", " cc")]
)
def test_log_probabilities_are_compared_in_three_ways(ranking, best):
    prompt = Prompt(text="x", options=(" a", " bbbb", " cc"), ranking=ranking, alone="y")
    assert prompt.choose([-3.0, -4.0, -5.0], [-1.0, -2.5, -9.0]) == best
    assert Prompt(text="x", options=("a", "b")).choose([-1.0, -1.0]) == "a"


def test_the_mean_over_subjects_is_not_the_mean_over_questions():
    samples = [
        Sample(problem=Problem(id=f"{g}{i}", data={}, group=g), index=0, status=status)
        for g, results in {"law": ["passed"], "art": ["failed"] * 3}.items()
        for i, status in enumerate(results)
    ]
    scores = summarise(samples, {"mean_of_groups": True})["scores"]
    assert scores["pass@1"]["value"] == 0.5
    assert scores["pass@1, all"]["value"] == 0.25


@pytest.mark.parametrize(
    ("said", "right"),
    [("The Yuri Gagarin!", True), ("yuri  gagarin", True), ("Gherman Titov", False), ("", False)],
)
def test_short_answers_lose_case_punctuation_and_articles(said, right):
    problem = Problem(id="q", data={"answers": ["Yuri Gagarin", "gagarin yuri"]})
    assert find_task("triviaqa").check(problem, said, CONFIG).passed is right


def test_a_short_answer_of_signs_alone_is_one():
    check = find_task("nq-open").check
    problem = Problem(id="q", data={"answers": ["", "A+"]})
    assert [check(problem, said, CONFIG).passed for said in ("A+", "B", " ", "")] == [
        True, False, False, False,
    ]  # fmt: skip


def test_agieval_reads_first_letters_sets_and_formulas():
    task = find_task("agieval")
    one = Problem(id="a", group="lsat-ar", data={"label": "B", "options": ["(A)x", "(B)y"]})
    several = Problem(id="b", group="jec-qa-kd", data={"label": ["A", "C"], "options": ["(A)x"]})
    assert task.extract(one, "it is B, not A", "base") == "B"
    assert task.extract(several, "(C) and (A)", "base") == "AC"
    assert task.check(several, "AC", CONFIG).passed
    assert not task.check(several, "A", CONFIG).passed
    assert task.extract(one, "none of them", "base") == ""


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"thus \boxed{\frac12}", r"\frac12"),
        ("$x = 3$ so $y=4$", "4"),
        ("x = 12.", "12"),
        ("about 7 or 9", "9"),
        ("nothing", ""),
    ],
)
def test_a_cloze_answer_is_the_last_formula(text, answer):
    assert cloze_answer(text) == answer


@pytest.mark.parametrize(
    ("got", "target", "same"),
    [
        (r"\dfrac{1}{2}", r"\frac12", True),
        ("0.5", r"\frac{1}{2}", True),
        ("1/2", r"\frac{1}{2}", True),
        (r"10\%", "10", True),
        (r"90^\circ", "90", True),
        (r"\left(1, 2\right)", "(1,2)", True),
        (r"5\text{ cm}", "5", True),
        ("x=3", "3", True),
        (r"\sqrt2", r"\sqrt{2}", True),
        (".5", "0.5", True),
        ("2/4", "1/2", False),
        ("1000", "1,000", False),
    ],
)
def test_maths_compares_spellings(got, target, same):
    assert same_string(got, target) is same
