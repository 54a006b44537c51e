"""What `run.py` measures; each function runs in a process of its own and prints one line of JSON."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def best(action: Callable[[], Any], repetitions: int = 5) -> float:
    """The shortest time of some repetitions, in seconds."""
    times = []
    for _ in range(repetitions):
        begun = time.perf_counter()
        action()
        times.append(time.perf_counter() - begun)
    return min(times)


def say(**figures: float) -> None:
    print(json.dumps(figures))


def preset_config(name: str) -> dict[str, Any]:
    return preset_task(name)[1]


def preset_task(name: str) -> tuple[Any, dict[str, Any]]:
    """The task of a preset and its config."""
    from ostraca import cli
    from ostraca.tasks import get_task

    dataset = cli.compose("inspect", [f"dataset={name}"])["dataset"]
    return get_task(dataset["task"]), dataset["config"]


def depo_spec(config: dict[str, Any], examples: int, seed: int = 0) -> dict[str, Any]:
    splits = {"train": {"examples": examples}}
    return {"seed": seed, "datasets": {"depo": {"task": "depo", "config": config, "splits": splits}}}


def all_tasks_spec() -> dict[str, Any]:
    """Every task with its defaults, one example each."""
    from ostraca.tasks import TASKS

    splits = {"train": {"examples": 1}}
    datasets = {task: {"task": task, "splits": splits} for task in TASKS}
    return {"datasets": datasets, "vocabulary": "shared"}


def warm() -> None:
    from ostraca.pipeline.build.shards.warm import warm_kernels
    from ostraca.pipeline.spec.check import check_spec

    begun = time.perf_counter()
    warm_kernels(check_spec(all_tasks_spec()))
    say(ready=time.perf_counter() - begun)


def kernels(preset: str) -> None:
    import numpy as np

    from ostraca.pipeline.corpus.fingerprint import content_digest
    from ostraca.tasks import examples

    task, given = preset_task(preset)
    config = examples.complete_config(task, given, 0)
    key = examples.stream_of(task, config, 0, "train")
    rows = examples.batch_rows(task, config)
    parts = [np.arange(start, start + rows) for start in range(0, 8 * rows, rows)]
    batches = [task.generate(config, key, part) for part in parts]
    tokens = sum(len(batch.column("input_ids").values) for batch in batches)
    content_digest(batches[0], key)
    task.validate(batches[0], config)
    bits = np.random.SFC64(0)
    block = bytes(1 << 24)
    say(
        generate=tokens / 1e6 / best(lambda: [task.generate(config, key, part) for part in parts]),
        validate=tokens / 1e6 / best(lambda: [task.validate(batch, config) for batch in batches]),
        fingerprint=tokens / 1e6 / best(lambda: [content_digest(batch, key) for batch in batches]),
        draws=4.0 / best(lambda: bits.random_raw(4_000_000)),
        sha256=len(block) / 4e6 / best(lambda: hashlib.sha256(block).digest()),
    )


def fingerprints(preset: str) -> None:
    """What finds duplicates, beside the content digest, over four batches."""
    import numpy as np

    from ostraca.pipeline.corpus.fingerprint import content_digest, token_fingerprints
    from ostraca.tasks import examples

    task, given = preset_task(preset)
    config = examples.complete_config(task, given, 0)
    key = examples.stream_of(task, config, 0, "train")
    rows = examples.batch_rows(task, config)
    batches = [
        task.generate(config, key, np.arange(start, start + rows)) for start in range(0, 4 * rows, rows)
    ]
    tokens = sum(len(batch.column("input_ids").values) for batch in batches) / 1e6
    asked = {
        "tokens": token_fingerprints,
        "digest": lambda batch: content_digest(batch, key),
    }
    if task.content is not None:
        asked["content"] = lambda batch: task.content(batch, config)
    rates = {}
    for name, ask in asked.items():
        ask(batches[0])
        rates[name] = tokens / best(lambda ask=ask: [ask(batch) for batch in batches], 9)  # type: ignore[misc]
    say(**rates)


def lano(preset: str) -> None:
    """Sentences a second of the exact next-token distributions, and of the other questions."""
    import numpy as np

    from ostraca.tasks import examples
    from ostraca.tasks.core.batch import unragged
    from ostraca.tasks.lano import parse
    from ostraca.tasks.lano.grammar import grammar_of

    task, given = preset_task(preset)
    config = task.check({**given, "bos": False})
    grammar = grammar_of(config)
    batch = task.generate(config, examples.stream_of(task, config, 0, "train"), np.arange(2000))
    tokens, offsets = unragged(batch.column("input_ids"))
    questions = {
        "next": parse.next_token_distribution,
        "log": parse.log_probability,
        "member": parse.in_language,
    }
    rates = {}
    for name, ask in questions.items():
        ask(grammar, tokens[: offsets[2]], offsets[:3])
        rates[name] = 2000 / best(lambda ask=ask: ask(grammar, tokens, offsets), 3)  # type: ignore[misc]
    assert np.isfinite(parse.log_probability(grammar, tokens, offsets)).all()
    say(**rates)


def capo() -> None:
    """The tokenizers library on Capo's texts."""
    import numpy as np

    from ostraca.tasks import examples, get_task
    from ostraca.tasks.capo.tokenizer import load_tokenizer

    task = get_task("capo")
    config = examples.complete_config(task, {}, 0)
    key = examples.stream_of(task, config, 0, "train")
    texts = task.generate({**config, "bio": "text"}, key, np.arange(20_000)).column("text").to_pylist()
    tokenizer = load_tokenizer(None).backend
    tokens = sum(len(each) for each in tokenizer.encode_batch(texts, add_special_tokens=False))
    encode = best(lambda: tokenizer.encode_batch(texts, add_special_tokens=False), 3)
    say(encode=tokens / 1e6 / encode)


def pack(preset: str) -> None:
    """Row groups packed one after another, and NumPy copying the same arrays; each is thrown away at once."""
    import numpy as np

    from ostraca.pipeline.corpus.pack import pack_batch
    from ostraca.pipeline.spec.check import DEFAULT_ROW_GROUP_TOKENS
    from ostraca.pipeline.spec.packing import PACK_MODES
    from ostraca.tasks import examples
    from ostraca.tasks.core.batch import unragged

    task, given = preset_task(preset)
    config = examples.complete_config(task, given, 0)
    key = examples.stream_of(task, config, 0, "train")
    rows, length = round(DEFAULT_ROW_GROUP_TOKENS / task.mean_tokens(config)), 2048
    groups = [
        task.generate(config, key, np.arange(start, start + rows)) for start in range(0, 8 * rows, rows)
    ]
    arrays = [[unragged(group.column(name))[0] for name in ("input_ids", "loss_mask")] for group in groups]
    tokens = sum(len(ids) for ids, _ in arrays)

    def pack_all(mode: str) -> None:
        for group in groups:
            pack_batch(group, length, mode)

    def copy_all() -> None:
        for ids, mask in arrays:
            ids.copy()
            mask.copy()

    figures = {"numpy": tokens / 1e6 / best(copy_all, 30)}
    for mode in PACK_MODES:
        packed = [pack_batch(group, length, mode) for group in groups]
        held = sum(len(rows.column("input_ids").values) for rows in packed)
        figures[mode] = tokens / 1e6 / best(lambda mode=mode: pack_all(mode), 30)  # type: ignore[misc]
        figures[f"{mode}_filled"] = 100 * held / length / sum(rows.num_rows for rows in packed)
        figures[f"{mode}_kept"] = 100 * held / tokens
    say(**figures)


def build_of(folder: str, task: str, preset: str, tokens: str) -> None:
    """M tokens a second of a build, kernels compiled before."""
    from ostraca.pipeline.build.build import build as build_corpus
    from ostraca.pipeline.build.shards.warm import warm_kernels
    from ostraca.pipeline.spec.check import check_spec

    splits = {"train": {"tokens": int(float(tokens))}}
    spec = {"datasets": {task: {"task": task, "config": preset_config(preset), "splits": splits}}}
    warm_kernels(check_spec(spec))
    root, seconds = Path(folder) / "corpus", []
    for _ in range(2):
        shutil.rmtree(root, ignore_errors=True)
        begun = time.perf_counter()
        manifest = build_corpus(spec, root, engine="local")
        seconds.append(time.perf_counter() - begun)
    say(rate=manifest["totals"]["tokens"] / 1e6 / min(seconds))


def build(folder: str, preset: str, examples: str) -> None:
    import pyarrow.parquet as pq

    from ostraca.pipeline.build.build import build as build_corpus
    from ostraca.pipeline.build.shards.warm import warm_kernels
    from ostraca.pipeline.check.reproduce import reproduce
    from ostraca.pipeline.check.verify import verify
    from ostraca.pipeline.corpus.formats.parquet import ParquetShardWriter, pyarrow_writer
    from ostraca.pipeline.spec.check import check_spec

    spec = depo_spec(preset_config(preset), int(examples))
    warm_kernels(check_spec(spec))
    root = Path(folder) / "corpus"
    seconds = []
    for _ in range(2):
        shutil.rmtree(root, ignore_errors=True)
        begun = time.perf_counter()
        manifest = build_corpus(spec, root, engine="local")
        seconds.append(time.perf_counter() - begun)
    totals = manifest["totals"]
    first = root / manifest["splits"]["train"]["shards"][0]["path"]
    file = pq.ParquetFile(first)
    groups = [file.read_row_group(g).combine_chunks().to_batches()[0] for g in range(file.num_row_groups)]
    tokens = sum(len(batch.column("input_ids").values) for batch in groups)

    def as_we_write() -> None:
        path = Path(folder) / "yard.parquet"
        with open(path, "wb") as sink, ParquetShardWriter(sink, groups[0].schema, {}) as writer:
            for batch in groups:
                writer.write(batch)

    def by_pyarrow() -> None:
        path = Path(folder) / "yard.parquet"
        with open(path, "wb") as sink, pyarrow_writer(sink, groups[0].schema) as writer:
            for batch in groups:
                writer.write_batch(batch)

    def with_defaults() -> None:
        with pq.ParquetWriter(Path(folder) / "yard.parquet", groups[0].schema) as writer:
            for batch in groups:
                writer.write_batch(batch)

    data = first.read_bytes()
    say(
        rate=totals["tokens"] / 1e6 / min(seconds),
        bytes_per_token=totals["bytes"] / totals["tokens"],
        written=tokens / 1e6 / best(as_we_write, 3),
        pyarrow=tokens / 1e6 / best(by_pyarrow, 3),
        default=tokens / 1e6 / best(with_defaults, 3),
        verify=totals["tokens"] / 1e6 / best(lambda: verify(root), 3),
        reproduce=totals["tokens"] / 1e6 / best(lambda: reproduce(root), 1),
        sha256=tokens / 1e6 / best(lambda: hashlib.sha256(data).digest(), 3),
    )


def plan_and_build(folder: str, examples: str, workers: str) -> None:
    """What `plan` says of a corpus before and after it is built, and the build."""
    from ostraca.pipeline.build.build import build as build_corpus
    from ostraca.pipeline.forecast.estimate import Cluster, Estimate, estimate
    from ostraca.pipeline.forecast.measure import measure_disk

    spec, root = depo_spec({}, int(examples)), Path(folder) / "corpus"

    def planned() -> Estimate:
        disk = measure_disk(Path(folder))
        assert disk is not None
        at = Cluster(cores=int(workers), bandwidth=disk.bandwidth, latency=disk.latency)
        return estimate(spec, at)

    found = [planned()]
    begun, work = time.perf_counter(), time.process_time()
    manifest = build_corpus(spec, root, engine="local", workers=int(workers))
    seconds, work = time.perf_counter() - begun, time.process_time() - work
    size = sum(path.stat().st_size for path in root.rglob("*") if path.is_file())
    found.append(planned())
    clock = [max(each.clock for each in one.measured.values()) for one in found]
    steps = [sum(step.wall for step in one.steps()) for one in found]  # compiled and begun, without a report
    say(
        tokens=manifest["totals"]["tokens"],
        predicted=sum(steps) / 2,
        busy=sum(one * times for one, times in zip(steps, clock, strict=True)) / 2,
        seconds=seconds,
        core_predicted=sum(split.seconds for one in found for split in one.splits) / 2,
        core=work,
        bytes_predicted=found[0].bytes,
        bytes=size,
    )


def ray_scaling(folder: str, examples: str) -> None:
    """Builds of the same corpus by one and two workers of a Ray that runs already, its workers warm."""
    import ray

    from ostraca.pipeline.build.build import build as build_corpus

    begun = time.perf_counter()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    start = time.perf_counter() - begun
    build_corpus(depo_spec({}, 120_000, seed=1), Path(folder) / "warm", workers=2)
    rates: dict[int, list[float]] = {1: [], 2: []}
    for repetition in range(2):
        for workers in (1, 2):
            root = Path(folder) / f"ray-{workers}-{repetition}"
            begun = time.perf_counter()
            manifest = build_corpus(depo_spec({}, int(examples)), root, workers=workers)
            rates[workers].append(manifest["totals"]["tokens"] / 1e6 / (time.perf_counter() - begun))
            shutil.rmtree(root)
    ray.shutdown()
    say(start=start, one=max(rates[1]), two=max(rates[2]))


def plain_scaling(folder: str, examples: str) -> None:
    """What two processes that share nothing get out of this machine, against one."""

    def run(count: int) -> float:
        code = "import measures, sys; measures.plain_build(*sys.argv[1:])"
        begun = time.perf_counter()
        running = [
            subprocess.Popen([sys.executable, "-c", code, f"{folder}/plain-{count}-{n}", examples])
            for n in range(count)
        ]
        for process in running:
            process.wait()
        return count / (time.perf_counter() - begun)

    say(ratio=max(run(2), run(2)) / max(run(1), run(1)))


def plain_build(root: str, examples: str) -> None:
    from ostraca.pipeline.build.build import build as build_corpus

    shutil.rmtree(root, ignore_errors=True)
    build_corpus(depo_spec({}, int(examples)), root, engine="local")
    shutil.rmtree(root)


def first_use() -> None:
    """From an empty process to a batch that is made, checked, fingerprinted and packed."""
    begun = time.perf_counter()
    from ostraca import tasks

    tasks_imported = time.perf_counter() - begun
    from ostraca.loaders import TaskSource, TokenStream
    from ostraca.pipeline.build.shards.warm import warm_kernels
    from ostraca.pipeline.spec.check import check_spec

    warm_kernels(check_spec(depo_spec({}, 1)))
    for mode in ("left_aligned", "padded"):
        next(iter(TokenStream(TaskSource("depo"), batch_size=2, length=64, mode=mode)))
    assert tasks.TASKS
    say(ready=time.perf_counter() - begun, tasks=tasks_imported)


def imports_only() -> None:
    def run(*words: str) -> float:
        return best(lambda: subprocess.run([sys.executable, *words], check=True, capture_output=True), 5)

    python = run("-c", "pass")
    root = Path(__file__).resolve().parents[2]
    say(
        python=python,
        numpy=run("-c", "import numpy"),
        numba=run("-c", "import numba"),
        ostraca=run(str(root / "ostraca")),
    )
