"""What judges of open-ended benchmarks are asked, and what their judgments come to, as each
benchmark's authors have it.

Not here: asking and storing (evaluate/judge.py), and the tasks (evaluate/tasks/).
"""
