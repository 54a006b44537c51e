"""Small models trained on the token stream, and learning curves per hop.

Each file is one thing: models (base, llama, canon, hugging_face, models), data, train, evaluate/ (one
file a measure), record (CSV and wandb), curve, minimal, plots.
"""
