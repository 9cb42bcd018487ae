"""DeepSeek-Coder's published finetune command with codling behind it: the same words, one process
or several (torchrun, or `deepspeed`, which sets the same environment).

python examples/finetune_deepseekcoder.py --model_name_or_path MODEL --data_path rows.jsonl \
    --output_dir runs/tuned --num_train_epochs 3 --model_max_length 1024 \
    --per_device_train_batch_size 16 --gradient_accumulation_steps 4 --learning_rate 2e-5 \
    --warmup_steps 10 --lr_scheduler_type cosine --bf16 True
"""

import sys

from codling.core.errors import CodlingError
from codling.posttrain.published_command import finetune

if __name__ == "__main__":
    try:
        print(finetune(sys.argv[1:]).counts)
    except CodlingError as error:
        print(f"finetune: {error}", file=sys.stderr)
        sys.exit(2)
