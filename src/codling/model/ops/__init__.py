"""ONE OPERATION, SEVERAL WAYS: one function per operation chooses the way for device and shape.

    attend           attention over whole heads     flash, blocked, torch's     attend_plain
    apply_experts    routed MLPs                    sorted, expert by expert    apply_experts_plain
    grouped_matmul   a product per group of rows    torch's fused kernel        grouped_matmul_plain
    batched_matmul   a product per row of a batch   bmm, one by one on CPU      torch.bmm

The last column is the plain reference that tests compare with. Norms need no choice: F.rms_norm is
one function on every device. Whole steps in one compiled loop are the engine's (engine/kernels).

Not here: layers and their weights.
"""
