"""Instruction tuning, LoRA, FIM tuning and reinforcement learning."""
