"""THE HTTP SERVER: OpenAI-compatible API, insertion, and the page.

Not here: how tokens are computed (engine/), and settings of editors (editors/).
"""
