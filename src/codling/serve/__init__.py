"""The HTTP server: OpenAI-compatible API, insertion, and the page."""
