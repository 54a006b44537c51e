"""Polars over a corpus: python polars_query.py CORPUS DATASET"""

import sys

import polars as pl

frame = pl.scan_parquet(f"{sys.argv[1]}/{sys.argv[2]}/train-*.parquet")
table = (
    frame.group_by("n")
    .agg(pl.len().alias("examples"), pl.col("input_ids").list.len().mean().alias("tokens"))
    .sort("n")
    .head(5)
    .collect()
)
print(table)
