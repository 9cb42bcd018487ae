"""Shapes of chat answers about a Python function (see chat_shapes.py)."""

PYTHON_PROMPT = (
    "import math\nfrom typing import List\n\n\ndef half(x):\n    return x / 2\n\n\n"
    'def twice(xs: List[int]) -> int:\n    """ Twice the sum.\n    >>> twice([1, 2])\n    6\n'
    '    """\n'
)
PYTHON_TESTS = "assert twice([1, 2]) == 6\nassert twice([]) == 0\n"
PYTHON_SHAPES = {
    "thoughts first": "<think>\n```python\ndef twice(xs):\n    return 0\n```\nno\n</think>\n"
    "```python\ndef twice(xs):\n    return @@ * sum(xs)\n```",
    "thoughts without a beginning": "Hm, ```python\ndef twice(xs): return 1\n```\n</think>\n\n"
    "```python\ndef twice(xs):\n    return @@ * sum(xs)\n```",
    "the prompt's helper and imports": "```python\ndef twice(xs: List[int]) -> int:\n"
    "    return int(math.floor(half(2) * @@ * sum(xs)))\n```",
    "a class Solution": "```python\nclass Solution:\n    def twice(self, xs):\n"
    "        return @@ * sum(xs)\n```",
    "a main part before a helper": "```python\ndef twice(xs):\n    return _k() * sum(xs)\n\n"
    "if __name__ == '__main__':\n    print(twice([9]))\n\ndef _k():\n    return @@\n```",
    "wrong examples and a print": "```python\ndef twice(xs):\n    return @@ * sum(xs)\n\n"
    "print(twice([1, 2]))\nassert twice([1]) == 3\nx = input()\n```",
    "tildes": "~~~python\ndef twice(xs):\n    return @@ * sum(xs)\n~~~",
    "four backticks and a fence inside": "````python\ndef twice(xs):\n"
    "    '''\n```\ntwice([1])\n```\n"
    "    '''\n    return @@ * sum(xs)\n````",
    "a fence in a docstring": '```python\ndef twice(xs):\n    """\n    ```\n    twice([1])\n'
    '    ```\n    """\n    return @@ * sum(xs)\n```',
    "in a list": "1. Like this:\n\n   ```python\n   def twice(xs):\n       return @@ * sum(xs)\n"
    "   ```\n2. Done",
    "never closed": "```python\ndef twice(xs):\n    return @@ * sum(xs)\n",
    "closed on the line": "```python\ndef twice(xs):\n    return @@ * sum(xs)```",
    "pip before it": "```bash\npip install numpy\n```\n```py\ndef twice(xs):\n"
    "    return @@ * sum(xs)\n```",
    "output after it": "```python\ndef twice(xs):\n    return @@ * sum(xs)\n```\n"
    "Output:\n```\n6\n```",
    "usage after it": "```python\ndef twice(xs):\n    return @@ * sum(xs)\n```\n"
    "```python\nprint(twice([1, 2]))\n```",
    "body, not indented": "```python\ntotal = sum(xs)\nreturn @@ * total\n```",
    "from the future": "```python\nfrom __future__ import annotations\n\ndef twice(xs: Unknown):\n"
    "    return @@ * sum(xs)\n```",
    "no fence": "Sure, here it is.\n\n"
    "def twice(xs):\n    return @@ * sum(xs)\n\nIt doubles the sum.",
    "Windows line ends": "```python\r\ndef twice(xs):\r\n    return @@ * sum(xs)\r\n```\r\n",
    "helpers in another block": "```python\ndef add(a, b):\n    return a + b\n```\nand\n```python\n"
    "def twice(xs):\n    total = 0\n    for x in xs:\n        total = add(total, x)\n"
    "    return @@ * total\n```",
    "an untagged fence": "```\ndef twice(xs):\n    return @@ * sum(xs)\n```",
    "typed with an alias of Python": "```Python3\ndef twice(xs):\n    return @@ * sum(xs)\n```",
}
