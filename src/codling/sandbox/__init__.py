"""UNTRUSTED CODE -> VERDICT: generated and benchmark code runs here and nowhere else. No torch."""
