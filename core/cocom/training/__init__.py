"""Training: the paper's objectives on `transformers.Trainer`.

`objectives` turns texts and questions into examples, `datasets` reads and mixes them, `collate` stacks
them, `step` computes the loss, `trainer` runs it all.
"""
