"""Matrices held in few bits and computed as they are held, with the processor's dot-product
instructions.

Not here: where they come from (checkpoint/), the loop that decodes with them (engine/).
"""
