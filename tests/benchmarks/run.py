"""`make bench`: speed, each figure next to a yardstick measured in the same run.

    python tests/benchmarks/run.py [part ...]

Parts: kernels fingerprints answers pack build disjoint plan webdataset ray scale memory start loaders
training (all of them where none is named).

Every part runs in processes of its own, so that one core is one core. Figures are the best of several
repetitions: machines are noisy, and noise only ever slows.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

PARTS: dict[str, Callable[[], list[Row]]] = {}
Row = tuple[str, float, str, str, str]  # what, figure, unit, aimed at, yardstick
HERE = Path(__file__).resolve()


def part(function: Callable[[], list[Row]]) -> Callable[[], list[Row]]:
    PARTS[function.__name__] = function
    return function


def measured(
    script: str, *arguments: str, core: int | None = 0, module: str = "measures", **environment: str
) -> dict[str, Any]:
    """Run a function of measures.py (or a file beside it) in a fresh process, on one core; it prints JSON."""
    code = f"import {module}, sys; {module}.{script}(*sys.argv[1:])"
    pin = ["taskset", "-c", str(core)] if core is not None else []
    done = subprocess.run(
        [*pin, sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=HERE.parent,
        env={**os.environ, "PYTHONPATH": f"{HERE.parents[2]}:{HERE.parent}", **environment},
    )
    if done.returncode:
        sys.exit(f"{script}: {done.stderr}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


# Preset -> what is asked of generating and of validating it, Mtok/s.
AIMS = {
    "depo1-225": ("60", "60"),
    "depo2-125": ("150", "150"),
    "brevo1-70": ("", ""),
    "brevo1-110": ("90", "60"),
    "brevo2-50": ("90", "60"),
    "mano-10": ("", ""),
    "mano-16": ("80", "100"),
    "lano-cfg3f": ("120", "6"),
    "lano-cfg3k": ("115", "3"),
    "capo-50k": ("60", "5"),
}


@part
def kernels() -> list[Row]:
    rows: list[Row] = []
    for preset, (aim, check_aim) in AIMS.items():
        m = measured("kernels", preset)
        yard = f"NumPy's SFC64 fills {m['draws']:.0f} M random words/s"
        rows.append((f"generate {preset}", m["generate"], "Mtok/s", aim, yard))
        beside = f"generation {m['generate']:.0f}"
        rows.append((f"validate {preset}", m["validate"], "Mtok/s", check_aim, beside))
        rows.append((f"fingerprint {preset}", m["fingerprint"], "Mtok/s", "", f"sha256 {m['sha256']:.0f}"))
    return rows


@part
def fingerprints() -> list[Row]:
    """What finds duplicates: of the tokens alone, and of what they ask."""
    rows: list[Row] = []
    for preset in AIMS:
        m = measured("fingerprints", preset)
        beside = f"content digest {m['digest']:.0f}"
        rows.append((f"fingerprints of tokens, {preset}", m["tokens"], "Mtok/s", "1000", beside))
        if "content" in m:
            aim = "300" if preset == "depo1-225" else ""
            rows.append((f"  of content, {preset}", m["content"], "Mtok/s", aim, beside))
    return rows


@part
def answers() -> list[Row]:
    """What Lano's grammar answers exactly, and Capo's tokens beside the tokenizers library."""
    rows: list[Row] = []
    for preset, aim in (("lano-cfg3f", "5000"), ("lano-cfg3k", "2500")):
        m = measured("lano", preset)
        rows.append((f"next-token distributions, {preset}", m["next"], "sentences/s", aim, ""))
        rows.append(("  log-probability", m["log"], "sentences/s", "", ""))
        rows.append(("  membership", m["member"], "sentences/s", "", ""))
    made, library = measured("kernels", "capo-50k")["generate"], measured("capo", RAYON_NUM_THREADS="1")
    times = made / library["encode"]
    yard = f"encode_batch {library['encode']:.1f} Mtok/s"
    return [*rows, ("capo-50k tokens against encode_batch", times, "times", "25", yard)]


@part
def pack() -> list[Row]:
    """Into rows of 2,048 tokens, a row group at a time."""
    rows: list[Row] = []
    for preset in ("depo1-225", "mano-16"):
        m = measured("pack", preset)
        yard = f"NumPy copies the same with {m['numpy']:.0f}"
        for mode, aim in (("left_aligned", "500"), ("whole", "500"), ("best_fit", "200"), ("concat", "500")):
            rows.append((f"pack {preset}, {mode}", m[mode], "Mtok/s", aim, yard))
            kept = f"{m[f'{mode}_kept']:.1f} % of the tokens kept"
            rows.append(("  of the rows filled", m[f"{mode}_filled"], "%", "", kept))
    return rows


BUILDS = {"brevo1-110": "32", "mano-10": "28", "lano-cfg3f": "35", "capo-100k": "25"}


@part
def build() -> list[Row]:
    others: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        m = measured("build", folder, "depo1-225", "400000")
        for preset, aim in BUILDS.items():
            rate = measured("build_of", folder, preset.partition("-")[0].rstrip("12"), preset, "60e6")["rate"]
            others.append((f"build {preset}", rate, "Mtok/s", aim, ""))
    written = (
        f"written alone {m['written']:.0f}; by pyarrow {m['pyarrow']:.0f}, its default {m['default']:.0f}"
    )
    return [
        ("build depo1-225, local, one core", m["rate"], "Mtok/s", "34", written),
        ("  bytes a token on disk", m["bytes_per_token"], "bytes", "", "4 as int32"),
        ("verify (every byte)", m["verify"], "Mtok/s", "", f"sha256 {m['sha256']:.0f}"),
        ("reproduce (from the manifest)", m["reproduce"], "Mtok/s", "", "build"),
        *others,
    ]


@part
def disjoint() -> list[Row]:
    """Keeping eval examples out of train: what it takes of the time of a shard of train."""
    rows: list[Row] = []
    for preset in ("depo1-225", "brevo2-50", "mano-10", "lano-cfg3f"):
        m = measured("disjoint", preset, module="disjoint_splits")
        yard = f"whole shards: {m['disjoint']:.3f} times off, two made alike {m['again']:.3f}"
        rows.append((f"disjoint {preset}: share of a shard's time", 100 * m["share"], "%", "2", yard))
    return rows


@part
def webdataset() -> list[Row]:
    m = measured("webdataset", "depo1-225", module="webdataset_shards")
    rows: list[Row] = []
    for kind, name in (("packed", "packed rows of 2,048"), ("examples", "examples")):
        library = f"webdataset.ShardWriter {m[f'{kind}_library']:.1f}"
        for ending, also in (("tar", ".tar"), ("zst", ".tar.zst")):
            what = f"{kind}_{ending}"
            rows.append((f"write depo1-225, {name}, {also}", m[what], "Mtok/s", "20", library))
            aim = "2.5" if what == "packed_zst" else ""
            rows.append(("  bytes a token", m[f"{what}_bytes"], "bytes", aim, ""))
            rows.append(("  read back, every byte checked", m[f"{what}_read"], "Mtok/s", "50", ""))
    return rows


@part
def plan() -> list[Row]:
    """What is predicted beside what is then built; cores that others use too are slower than predicted."""
    rows: list[Row] = []
    for workers, core in (("1", 0), ("2", None)):
        with tempfile.TemporaryDirectory() as folder:
            m = measured("plan_and_build", folder, "352000", workers, core=core)
        name = (
            f"plan: {m['tokens'] / 1e6:.0f} M tokens of depo1-225, {workers} worker{'s'[: int(workers) - 1]}"
        )
        beside = (
            f"built in {m['seconds']:.1f}; as busy as the cores were, {m['busy']:.1f} were to be expected"
        )
        rows.append((name, m["predicted"], "s", "", beside))
        rows.append(("  seconds of a core", m["core_predicted"], "s", "", f"{m['core']:.1f} in the build"))
    rows.append(("  bytes", m["bytes_predicted"] / 1e6, "MB", "", f"{m['bytes'] / 1e6:.1f} in the build"))
    return rows


@part
def ray() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        m = measured("ray_scaling", folder, "1500000", core=None)
        plain = measured("plain_scaling", folder, "700000", core=None)
    yard = f"two plain processes: {plain['ratio']:.2f} times one"
    return [
        ("Ray starts in", m["start"], "s", "", ""),
        ("build depo1-225, Ray, 1 worker", m["one"], "Mtok/s", "", "local, above"),
        ("build depo1-225, Ray, 2 workers", m["two"], "Mtok/s", "", ""),
        ("  two workers against one", m["two"] / m["one"], "times", "1.8", yard),
    ]


@part
def scale() -> list[Row]:
    """A billion tokens on two cores, with and without the search for duplicates."""
    modes = ("off", "drop", "drop-content")
    with tempfile.TemporaryDirectory() as folder:
        m = measured("billion", folder, "1e9", *modes, core=None, module="corpus_scale")
        library = measured("hugging_face", folder, module="corpus_scale")
    said = {"off": "as drawn", "drop": "unique by tokens", "drop-content": "unique by content"}
    single = f"from_generator + to_parquet, of single examples {library['single']:.2f} Mtok/s a core"
    rows: list[Row] = []
    for mode in modes:
        what = f"{m['tokens'] / 1e9:.2f} G tokens of depo1-225, checked, {said[mode]}"
        rows.append((what, m[mode], "s", "30", single))
        rows.append(("  all in all", m["tokens"] / 1e6 / m[mode], "Mtok/s", "33", "two workers of Ray"))
        if mode != "off":
            more = 100 * (m[mode] / m["off"] - 1)
            rows.append(("  more than without dedup", more, "%", "15", "the same corpus, the same run"))
    writing = "from_generator + to_parquet of examples that were ready"
    return [*rows, (f"{writing}", library["writing"], "Mtok/s", "", "a core")]


@part
def memory() -> list[Row]:
    """Flat, however large the corpus: one process that makes the shards and looks for duplicates."""
    rows: list[Row] = []
    small = "16MiB"  # of tables, so that even these corpora take several passes; by default one does
    cases = [(tokens, small) for tokens in ("1e7", "3e7", "1e8", "3e8", "1e9")] + [("1e9", "1GiB")]
    for tokens, budget in cases:
        with tempfile.TemporaryDirectory() as folder:
            m = measured("peak", folder, tokens, budget, module="corpus_scale")
        name = f"peak memory, {m['tokens'] / 1e6:,.0f} M tokens, dedup.memory={budget}"
        rows.append((name, m["peak"], "MB", "1000", "█" * round(m["peak"] / 20)))
    return rows


@part
def start() -> list[Row]:
    with tempfile.TemporaryDirectory() as folder:
        first = measured("first_use", NUMBA_CACHE_DIR=folder)
        all_tasks = measured("warm", NUMBA_CACHE_DIR=folder)
        later = min(
            (measured("first_use", NUMBA_CACHE_DIR=folder) for _ in range(3)), key=lambda m: m["ready"]
        )
    aside = min((measured("imports_only") for _ in range(3)), key=lambda m: m["numba"])
    return [
        ("first use of Depo's kernels on a machine", first["ready"], "s", "20", ""),
        ("  and of the other four tasks'", all_tasks["ready"], "s", "", "one core; workers share it out"),
        ("later start, to the first checked batch", later["ready"], "s", "2", f"numba {aside['numba']:.2f}"),
        ("import ostraca.tasks", later["tasks"], "s", "1.5", f"numpy {aside['numpy']:.2f}"),
        ("ostraca without arguments", aside["ostraca"], "s", "0.5", f"python -c pass {aside['python']:.2f}"),
    ]


@part
def loaders() -> list[Row]:
    """Streams of 8 x 2,048 tokens from corpora of Depo1, beside what reads the same and no more."""
    with tempfile.TemporaryDirectory() as folder:
        m = measured("streams", folder, core=None, module="loading")
        used = measured("memory", folder, core=None, module="loading")
        opened = measured("opening", folder, core=None, module="loading")
        shares = {
            world: measured("ranks", folder, str(world), core=None, module="loading") for world in (2, 8)
        }
        other = measured("peers", folder, core=None, module="loading")
        rows_of = measured("shuffled", folder, core=None, module="loading")
        order = measured("shuffle", core=None, module="loading")
    with tempfile.TemporaryDirectory() as folder:
        large = measured("trillion", folder, core=None, module="loading")
    read = f"pyarrow reads the columns with {m['pyarrow']:.0f}"
    rows: list[Row] = [
        ("stream of a corpus, shuffled, packed", m["corpus"], "Mtok/s", "170", read),
        ("  as torch tensors", m["torch"], "Mtok/s", "", ""),
        ("  of four datasets with shared ids", m["four"], "Mtok/s", "", ""),
        ("  four sources in a Mixture", m["mixture"], "Mtok/s", "140", ""),
        ("  from the manifest alone (replay)", m["replay"], "Mtok/s", "80", ""),
        ("  of a task, made on the fly", m["task"], "Mtok/s", "", ""),
        ("first batch", m["first"] * 1e3, "ms", "300", f"opening alone {opened['warm'] * 1e3:.0f}"),
        ("resume in epoch 40", m["resume"] * 1e3, "ms", "300", ""),
        ("peak memory of a process that streams", used["peak"], "MB", "500", f"before {used['before']:.0f}"),
        (f"a manifest of {large['tokens'] / 1e12:.2f} T tokens is open", large["seconds"], "s", "1", ""),
        ("  peak memory", large["peak"], "MB", "500", ""),
        ("rows of 2,049: memmap, at random", other["memmap"], "Mtok/s", "", "not packed, no mask"),
        ("  pyarrow batches, in order", other["arrow"], "Mtok/s", "", ""),
        ("  datasets, streaming, in order", other["hf"], "Mtok/s", "", ""),
        ("  datasets, streaming, shuffled", other["hf_shuffled"], "Mtok/s", "", ""),
        ("  webdataset, shuffled", other["webdataset"], "Mtok/s", "", ""),
        (
            "rows packed to 2,048 at build, shuffled",
            rows_of.pop("ours"),
            "Mtok/s",
            "",
            "with masks and positions",
        ),
        *((f"  {name}, shuffled", rate, "Mtok/s", "", "") for name, rate in rows_of.items()),
    ]
    for world, share in shares.items():
        what = f"{world} ranks: the most that one reads, of its share"
        rows.append((what, share["largest"], "times", "1.3", f"all together {share['all']:.2f} of the data"))
    for what, name in (
        ("shuffle: distance of neighbours in a batch", "distance"),
        ("  of rows that stood side by side", "neighbours"),
        ("  shards in a batch of 64, of 20", "shards"),
    ):
        rows.append((what, order[name], "", "", f"a full permutation {order[f'full_{name}']:.3f}"))
    return rows


@part
def training() -> list[Row]:
    """Run on the CPU, or on a GPU where there is one."""

    def of(script: str, *arguments: str) -> dict[str, Any]:
        return measured(script, *arguments, core=None, module="training_speed")

    where = of("device")["device"]
    rows: list[Row] = []
    if where == "cpu":
        call = ("depo-demo", "64", "23", "30", "300")
        models = ("llama@transformers", "llama", "llama_canon")
        theirs, best = 0.0, dict[str, dict[str, Any]]()
        for _ in range(3):  # in turns: the machine has its moods
            theirs = max(theirs, of("trainer", "llama", *call)["tokens"])
            for model in models:
                found = of("ours", model, *call)
                best[model] = max(best.get(model, found), found, key=lambda one: one["tokens"])
        for model, m in best.items():
            aim = "Trainer" if model != "llama_canon" else ""
            beside = f"Trainer on transformers' Llama {theirs:.0f}; waits for data {m['wait']:.1f} %"
            rows.append((f"train {model}, demo", m["tokens"], "ktok/s", aim, beside))
        return rows
    call = ("depo1", "32", "2048", "15", "40")
    aims = {"llama_8l512d": 40, "llama_8l512d,model.canon=AC": 40}
    aims |= {"llama_12l768d": 45, "llama_12l768d,model.canon=AC": 42, "llama_12l768d@transformers": 0}
    for model, aim in aims.items():
        m = of("ours", model, *call)
        speed = f"{m['tokens'] / 1e3:.2f} Mtok/s, {m['ms']:.1f} ms a step"
        beside = f"{speed}, waits for data {m['wait']:.2f} %, {m['memory']:.1f} GiB"
        rows.append((f"{model}, {where}", m["mfu"], "% MFU", str(aim or ""), beside))
    rows.append(
        ("Trainer, Llama 12L768D", of("trainer", "llama_12l768d", *call)["tokens"], "ktok/s", "", where)
    )
    return rows


def main(chosen: list[str]) -> None:
    from rich.console import Console
    from rich.table import Table

    wrong = [name for name in chosen if name not in PARTS]
    if wrong:
        sys.exit(f"no part {wrong[0]!r}; known: {', '.join(PARTS)}")
    measured("warm")
    table = Table(title=f"ostraca on {os.cpu_count()} cores; yardsticks from the same run")
    for heading in ("what", "measured", "aim", "yardstick"):
        table.add_column(heading, justify="left" if heading in ("what", "yardstick") else "right")
    for name in chosen or PARTS:
        print(f"measuring {name} ...", file=sys.stderr, flush=True)
        for what, figure, unit, aim, yardstick in PARTS[name]():
            digits = 0 if figure >= 100 else 1 if figure >= 10 else 2
            table.add_row(what, f"{figure:,.{digits}f} {unit}", aim, yardstick)
        table.add_section()
    Console(width=None if sys.stdout.isatty() else 140).print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
