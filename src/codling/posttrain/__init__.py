"""What is done to a trained model: so far adapting it to a repository (LoRA, or all weights)."""
