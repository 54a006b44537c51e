"""transformers.Trainer, which makes batches and shares them out: python hugging_face_trainer.py CORPUS OUT"""

import sys

from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

import ostraca

# As many lines as Trainer trains on in a step: per_device_train_batch_size x accumulation x processes.
stream = ostraca.open_stream(sys.argv[1], batch_size=8, length=128)
config = LlamaConfig(
    vocab_size=stream.source.vocab_size,
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=2,
)
arguments = TrainingArguments(
    output_dir=sys.argv[2],
    per_device_train_batch_size=4,
    gradient_accumulation_steps=2,
    max_steps=6,
    logging_steps=3,
    report_to="none",
    save_strategy="no",
    use_cpu=True,
)
# Labels are not shifted: the model does that. position_ids begin anew in each example.
trainer = Trainer(model=LlamaForCausalLM(config), args=arguments, train_dataset=stream.rows())
print(trainer.train().metrics)
