"""Exports: the rows of a corpus in the file formats of other training stacks. A format is a file and a line.

A format is a module with

    DTYPES      the dtypes of token ids that it can hold, the smallest first; () where it has none (jsonl)
    TEXTS       whether it takes texts (Capo's bio=text)
    NOT_CARRIED what of a corpus it has no place for: printed, and in export.json
    write(dataset, files)   write the chosen splits of one dataset below the folder of its name

Each writes into FOLDER/DATASET/. `export.json` in FOLDER is written last: where it stands, the export is
whole.
"""

# Format -> its module, imported at first use.
FORMATS = {
    "megatron": "ostraca.pipeline.export.megatron",
    "nanogpt": "ostraca.pipeline.export.nanogpt",
    "olmo": "ostraca.pipeline.export.olmo",
    "datatrove": "ostraca.pipeline.export.datatrove",
    "mds": "ostraca.pipeline.export.mds",
    "litdata": "ostraca.pipeline.export.litdata",
    "litgpt": "ostraca.pipeline.export.litgpt",
    "jsonl": "ostraca.pipeline.export.jsonl",
}
# Other names of formats.
ALIASES = {"jsonl.zst": "jsonl"}
