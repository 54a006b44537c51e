"""DuckDB over a corpus: python duckdb_query.py CORPUS DATASET"""

import sys

import duckdb

shards = f"{sys.argv[1]}/{sys.argv[2]}/train-*.parquet"
query = f"""
    select n, count(*) as examples, avg(len(input_ids)) as tokens, avg(octet_length(loss_mask)) as masked
    from '{shards}' group by n order by n limit 5
"""
print(duckdb.sql(query))
