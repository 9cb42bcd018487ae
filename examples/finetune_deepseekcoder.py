"""DeepSeek-Coder's published finetune command with codling behind it: the same words, one process
or several (torchrun, or `deepspeed`, which sets the same environment).

python examples/finetune_deepseekcoder.py --model_name_or_path MODEL --data_path rows.jsonl \
    --output_dir runs/tuned --num_train_epochs 3 --model_max_length 1024 \
    --per_device_train_batch_size 16 --gradient_accumulation_steps 4 --learning_rate 2e-5 \
    --warmup_steps 10 --lr_scheduler_type cosine --bf16 True
"""

import sys

from codling.cli import main

if __name__ == "__main__":
    main(["finetune", *sys.argv[1:]])
