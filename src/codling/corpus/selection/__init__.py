"""CLASSIFIERS: recall of pages and quality models, with the linear model under both.

Not here: rules without training (corpus/filters).
"""
