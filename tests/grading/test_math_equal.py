"""Which mathematical answers are equal, by our rule and by DeepSeek-Coder's."""

import pytest

from codling.grading.math_equal import call, equal, equal_deepseek

pytest.importorskip("sympy")

GOOD = [
    (r"k \geq 2", r"k\ge 2"),
    ("\N{GREEK SMALL LETTER PI}/4", r"\frac{\pi}{4}"),
    (r"x = 1 \text{ or } x = 2", "1,2"),
    ("(1,2),(3,4)", "(3,4),(1,2)"),
    ("3:00 p.m.", "3:00 PM"),
    ("3:00 PM", "3:00"),
    ("0.5", r"\frac{1}{2}"),
    (r"\dfrac12", "0.5"),
    ("1,200", "1200.0"),
    (r"50\%", "0.5"),
    ("x = 3", "3"),
    (r"\text{Monday}", "Monday"),
    ("(1, 2)", "( 1,2.0 )"),
    ("12 cm", "12"),
    (r"90^\circ", "90"),
    (r"\( 18 \)", "18"),
    (r"\$9{,}500", "9500"),
    ("$5 per day", "5"),
    (r"2\frac13", "7/3"),
    (r"2\frac13", r"\frac73"),
    (r"\sqrt2", r"\sqrt{2}"),
    (r"\ln 2", r"\ln(2)"),
    (r"\ln 2", "0.693147"),
    ("e^2", r"\exp(2)"),
    (r"e^{2}", r"\exp 2"),
    (r"\begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}"),
    (r"\begin{bmatrix}1/2\\ 3\end{bmatrix}", r"\begin{bmatrix}0.5\\3\end{bmatrix}"),
    (r"2\sqrt{3}", r"\sqrt{12}"),
    ("x^2+2x+1", "(x+1)^2"),
    ("[1,2)", "[1, 2)"),
    (r"\{1,2\}", r"\{2,1\}"),
    (r"(-\infty,2)\cup(3,\infty)", r"(3,\infty)\cup(-\infty,2)"),
    ("1 1/2", "1.5"),
    ("-1\\frac{1}{2}", "-1.5"),
    (r"\frac{\sqrt3}{2}", r"\frac{\sqrt{3}}{2}"),
    (r"1.5\times 10^3", "1500"),
    (r"\frac{\pi}{2}", r"\pi/2"),
    ("12 cm^2", "12"),
    ("12 square units", "12"),
    ("60 mph", "60"),
    ("3 miles/hour", "3"),
    ("1, 2", "2,1"),
    ("1 and 2", "1, 2"),
    (r"\log_2 8", "3"),
    (r"\log_{2}(8)", "3"),
    ("3i+2", "2+3i"),
    (r"\sin\frac{\pi}{6}", "0.5"),
    (r"5!", "120"),
    ("**18**", "18"),
    ("`18`", "18"),
    ("18.0", "18"),
    ("0.3333", r"\frac13"),
    ("1.4142", r"\sqrt{2}"),
    ("monday", "Monday"),
    (r"x \in [1,2]", "[1,2]"),
    ("f(x) = x+1", "x+1"),
    (r"-\frac{1}{2}", "-0.5"),
    (r"\frac{-1}{2}", "-1/2"),
    ("1{,}000{,}000", "1000000"),
    ("£20", "20"),
    (r"18\text{ dollars}", "18"),
    (r"\text{(A)}", "(A)"),
    ("2^{10}", "1024"),
    ("|-3|", "3"),
    (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}"),
    (r"\sin^2 x", r"\sin^{2}(x)"),
    (r"\sin^2 x", r"(\sin x)^2"),
    (r"\sin^2 x + \cos^2 x", "1"),
    (r"\tan^2\theta", r"\frac{\sin^2 \theta}{\cos^2 \theta}"),
    (r"\sin^{-1} x", r"\arcsin x"),
    (r"\sin 2x", r"2\sin x\cos x"),
    (r"\sin\frac{\pi}{6}", "0.5"),
    (r"\log^2 x", r"(\log x)^2"),
    (r"\log_{2} 8", "3"),
    (r"\binom{5}{2}", "10"),
    (r"\dbinom52", r"\binom{5}{3}"),
    (r"\lfloor 3.7 \rfloor", "3"),
    (r"\lceil 3.2\rceil", "4"),
    (r"0.\overline{3}", r"\frac13"),
    (r"0.1\overline{6}", "1/6"),
    (r"\pm 2", "-2, 2"),
    (r"1 \pm \sqrt{3}", r"1-\sqrt3, 1+\sqrt3"),
    ("{1, 2}", r"\{2, 1\}"),
    (r"\emptyset", r"\varnothing"),
    (r"\( \begin{pmatrix} 1/5 \\ (2) \end{pmatrix} \).", r"\begin{pmatrix} 0.2 \\ 2 \end{pmatrix}"),
    (r"$$\begin{pmatrix} 1 \\[2pt] 2 \end{pmatrix}$$", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
    ("8", r"8 \%"),
    ("(3, 331)", "(3,331)"),
    ("(11,31), (3,331), (1,1006)", "(1,1006),(3,331),(11,31)"),
    ("(2 , 251 , 252)", "(2,251,252)"),
    ("(1,000, 2)", "(1000,2)"),
    (r"\{1,\!000, 5\}", r"\{5, 1000\}"),
    ("0.08", r"8 \%"),
]

BAD = [
    (r"\sin^2 x", r"\sin 2x"),
    (r"\sin^2 x", r"\sin x^2"),
    (r"\sin^2 x", r"\cos^2 x"),
    (r"\sin^{-1} x", r"\frac{1}{\sin x}"),
    (r"\binom{5}{2}", "20"),
    (r"\binom{5}{2}", "5/2"),
    (r"\lfloor 3.7 \rfloor", "3.7"),
    (r"0.\overline{3}", "0.3"),
    (r"\pm 2", "2"),
    (r"\log_2 8", "8"),
    ("3:00 PM", "3:00 AM"),
    ("(1,2),(3,4)", "(2,1),(3,4)"),
    ("12 or 13", "12"),
    ("3", "4"),
    ("(1,2)", "(2,1)"),
    ("", "0"),
    ("x", "3"),
    ("0.5", "0.6"),
    ("[1,2)", "(1,2]"),
    ("(1,2)", "[1,2]"),
    (r"1\frac{1}{2}", r"\frac{1}{2}"),
    ("1800", "18"),
    ("0.18", "18"),
    ("9999", "10000"),
    ("x^2", "x^3"),
    ("1e-7", "2e-7"),
    (r"\frac{1000001}{1000000}", "1"),
    ("18.5", "18"),
    ("17.99", "18"),
    (r"\sqrt{2}", r"\sqrt{3}"),
    ("", ""),
    ("1,2", "1"),
    ("1,2,3", "1,2"),
    ("12", "1,2"),
    (r"\{1,2\}", "(1,2)"),
    ("Tuesday", "Monday"),
    (r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", r"\begin{pmatrix}1&2&3&4\end{pmatrix}"),
    (r"\begin{pmatrix}1&2\end{pmatrix}", "1,2"),
    ("import os", "3"),
    ("-18", "18"),
    ("x=3", "y+3"),
    ("18 or 19", "18"),
    ("1/3", "0.34"),
    ("2.5", "5/2 + 1"),
    ("A", "B"),
    ("no", "yes"),
    ("$", "5"),
    ("0", "1e-9"),
    ("1\\frac12", "1/2"),
    ("2^3", "6"),
    ("oo", "1"),
    ("x<3", "x>3"),
    ("101_2", "101_3"),
    ("800", r"8 \%"),
    ("3331", "(3,331)"),
    ("(3,331)", "(3,332)"),
    ("8%", "800"),
    ("0.5%", "50%"),
]


@pytest.mark.parametrize(("got", "target"), GOOD)
def test_equal_answers_in_different_spellings(got, target):
    assert equal(got, target)


@pytest.mark.parametrize(("got", "target"), BAD)
def test_unequal_answers(got, target):
    assert not equal(got, target)


def test_a_factor_of_a_hundred_is_right_only_where_percents_are_spoken_of():
    assert equal("18%", "0.18")
    assert equal("1800", "18", percent=True)
    assert not equal("1800", "18")
    assert call("1800", "18", "What percentage is it?", "strict").endswith("percent=True)")
    assert call("1800", "18", "How many are left?", "strict").endswith("percent=False)")


@pytest.mark.parametrize(
    ("got", "target", "same"),
    [
        ("1800", "18", True),
        ("0.18", "18", True),
        ("18.001", "18", True),
        ("(1,4.5)", r"(1,\frac{9}{2})", True),
        (r"\frac{x+2}{7}", r"\frac{x}{7}+\frac{2}{7}", True),
        ("19", "18", False),
        ("1801", "18", False),
        ("", "18", False),
        ("x", "18", False),
    ],
)
def test_deepseeks_rule_takes_a_share_and_its_percentage_for_equal(got, target, same):
    assert equal_deepseek(got, target) is same


def test_long_texts_cost_no_time():
    assert not equal("5 " + "dollars " * 200 + "!", "5")
    assert not equal("(" * 300, "5")
    assert not equal("9" * 300, "5")
