"""The house: imports point one way, every heavy library has one home, light doors stay light."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ostraca.tasks import TASKS

ROOT = Path(__file__).resolve().parent.parent
# Each room may import from itself and from these.
MAY_IMPORT = {
    "tasks": set(),
    "pipeline": {"tasks", "conf"},
    "loaders": {"tasks", "pipeline"},
    "training": {"tasks", "pipeline", "loaders"},
    "ostraca": {"tasks", "pipeline", "loaders", "conf"},
    "conf": {"tasks"},
}
# The rooms of pipeline, by floor: an import goes to a lower floor or stays in its room.
FLOORS = {
    "spec": 0,
    "store": 0,
    "corpus": 1,
    "report": 2,
    "build": 3,
    "check": 4,
    "forecast": 4,
    "export": 4,
    "commands": 5,
}
LOADERS_SEE = {"spec", "store", "corpus"}
# The only homes of each heavy library, and whether it may be imported at the top of the file there.
HOMES = {
    "ray": (("pipeline/build/jobs/engine.py", "training/on_ray.py"), False),
    "torch": (("training/", "loaders/torch_data.py"), True),
    "transformers": (("training/", "tasks/render.py", "tasks/core/tokenizer.py"), False),
    "tokenizers": (
        ("tasks/core/tokenizer", "tasks/capo/tokenizer.py", "tasks/capo/train_tokenizer.py"),
        False,
    ),
    "hydra": (("ostraca/cli.py",), False),
    "omegaconf": (("ostraca/cli.py", "ostraca/help.py"), False),
    "datasets": (("tasks/examples.py",), False),
    "fsspec": (("pipeline/store/urls.py", "pipeline/store/remote.py"), False),
    "wandb": (("training/",), False),
    "jinja2": (("pipeline/report/render.py",), False),
    "matplotlib": (("training/", "pipeline/report/pictures.py"), False),
    "numba": (("tasks/core/kernels.py",), True),
    "zstandard": (("pipeline/corpus/manifest_", "pipeline/corpus/formats/"), True),
}

# Files of subclasses of a library's import it at their top, and are imported at first use.
SUBCLASSES = {"training/models/canon_llama.py": "transformers"}


@dataclass(frozen=True, kw_only=True)
class Import:
    """One imported module; `eager` where it is loaded with the file (not in a function, not for types)."""

    file: str
    line: int
    module: str
    eager: bool
    for_types: bool


def sources() -> list[Path]:
    found = []
    for room in MAY_IMPORT:
        found += sorted((ROOT / room).rglob("*.py"))
    return found


def absolute(path: Path, node: ast.ImportFrom) -> str:
    """The module that is imported from: of the product itself as its folders stand, e.g. "tasks.base"."""
    folders = path.relative_to(ROOT).parent.parts
    if folders[0] == "ostraca":
        folders = ()  # the face stands above the rooms
    above = folders[: len(folders) - node.level + 1] if node.level else ()
    return ".".join([*above, *filter(None, [node.module])])


def imports_of(path: Path) -> Iterator[Import]:
    """Every import statement of a file, wherever it stands; `from a import b` gives a and a.b."""
    file = path.relative_to(ROOT).as_posix()

    def walk(node: ast.AST, eager: bool, for_types: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            modules = []
            if isinstance(child, ast.Import):
                modules = [alias.name for alias in child.names]
            elif isinstance(child, ast.ImportFrom):
                module = absolute(path, child)
                modules = [module, *(f"{module}.{alias.name}".lstrip(".") for alias in child.names)]
            for module in modules:
                yield Import(file=file, line=child.lineno, module=module, eager=eager, for_types=for_types)
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                yield from walk(ast.Module(body=child.body, type_ignores=[]), False, True)
                yield from walk(ast.Module(body=child.orelse, type_ignores=[]), eager, for_types)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
                yield from walk(child, False, for_types)
            else:
                yield from walk(child, eager, for_types)

    yield from walk(ast.parse(path.read_text()), True, False)


IMPORTS = [found for path in sources() for found in imports_of(path)]


def test_nothing_inside_is_imported_by_a_whole_name() -> None:
    """Only relative imports: what is called `tasks` where a user works is the user's, not ours."""
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not {top(alias.name) for alias in node.names} & set(MAY_IMPORT), path
            elif isinstance(node, ast.ImportFrom) and not node.level and path.name != "__main__.py":
                assert top(node.module or "") not in MAY_IMPORT, path


def top(module: str) -> str:
    return module.partition(".")[0]


def test_the_reader_of_imports_sees_all_kinds(tmp_path: Path) -> None:
    """Guards this test itself: at the top, in a function, in a class, for types, under if and try."""
    file = ROOT / "tests" / "test_layering.py"
    seen = {(found.module, found.eager) for found in imports_of(file)}
    assert ("ast", True) in seen
    assert ("dataclasses.dataclass", True) in seen
    assert any(found.module == "numba" and found.eager for found in IMPORTS)
    assert any(found.module == "ray" and not found.eager for found in IMPORTS)
    assert any(found.module == "datasets" and found.for_types for found in IMPORTS)
    assert len({found.file for found in IMPORTS}) > 30


# Doors that users call by key words alone: each is a key of a config.
MANY_KEYS = {f"loaders/{name}.py" for name in ("corpus", "open", "stream", "task")} | {
    "training/models/llama.py"
}


def test_files_and_functions_can_be_taken_in() -> None:
    """No file over 400 lines, no kernel over 200, no other function of over six parameters."""
    for path in sources():
        file, text = path.relative_to(ROOT).as_posix(), path.read_text()
        assert text.count("\n") <= 400, file
        for node in ast.walk(ast.parse(text)):
            if not isinstance(node, ast.FunctionDef):
                continue
            assert (node.end_lineno or 0) - node.lineno < 200, f"{file}: {node.name}"
            if any(ast.unparse(mark) in ("kernel", "inlined") for mark in node.decorator_list):
                continue
            given = node.args
            names = [name.arg for name in (*given.posonlyargs, *given.args) if name.arg != "self"]
            if file in MANY_KEYS and node.name in ("__init__", "open_stream"):
                assert len(names) <= 4, f"{file}: {node.name}"
            else:
                assert len(names) + len(given.kwonlyargs) <= 6, f"{file}: {node.name}"


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_one_way(room: str) -> None:
    """tasks <- pipeline <- loaders <- training; imports for type checking count as well."""
    allowed = MAY_IMPORT[room] | {room}
    rooms = set(MAY_IMPORT)
    for found in IMPORTS:
        if top(found.file.removesuffix(".py").replace("/", ".")) == room and top(found.module) in rooms:
            assert top(found.module) in allowed, f"{found.file}:{found.line} imports {found.module}"


def room_of(module: str) -> str | None:
    """The room of pipeline that a module, or a file written as one, is in."""
    parts = module.split(".")
    return parts[1] if parts[0] == "pipeline" and len(parts) > 1 and parts[1] in FLOORS else None


def test_every_file_of_pipeline_is_in_a_room() -> None:
    rooms = {
        path.parts[0]
        for path in (file.relative_to(ROOT / "pipeline") for file in ROOT.glob("pipeline/*/**/*.py"))
    }
    assert rooms == set(FLOORS)
    assert [path.name for path in ROOT.glob("pipeline/*.py")] == ["__init__.py"]


def test_the_architecture_names_the_rooms() -> None:
    """docs/architecture.md lists just the rooms that there are."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert set(re.findall(r"^\| `pipeline/(\w+)/`", text, flags=re.MULTILINE)) == set(FLOORS)
    assert set(re.findall(r"^\| `(\w+)/`", text, flags=re.MULTILINE)) == set(MAY_IMPORT) - {
        "ostraca",
        "pipeline",
    }


def test_nothing_in_pipeline_imports_upwards() -> None:
    for found in IMPORTS:
        here, there = room_of(found.file.removesuffix(".py").replace("/", ".")), room_of(found.module)
        if here and there and here != there:
            assert FLOORS[there] < FLOORS[here], f"{found.file}:{found.line} imports {found.module}"


def test_loaders_see_spec_store_and_corpus_alone() -> None:
    """A loader runs where Ray is not installed, and needs nothing of what builds."""
    for found in IMPORTS:
        if found.file.startswith("loaders/") and top(found.module) == "pipeline":
            assert room_of(found.module) in LOADERS_SEE | {None}, f"{found.file}:{found.line}"


def test_no_module_is_in_a_ring() -> None:
    """Of all files, imports in functions and for types too: none reaches itself."""
    modules = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources()}
    modules = {name.removesuffix(".__init__") for name in modules}
    arrows: dict[str, set[str]] = {name: set() for name in modules}
    for found in IMPORTS:
        here = found.file.removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        if found.module in modules and found.module != here and not here.startswith(f"{found.module}."):
            arrows[here].add(found.module)
    left = dict(arrows)
    while done := [name for name, targets in left.items() if not targets & set(left)]:
        for name in done:
            del left[name]
    assert not left, {name: sorted(targets & set(left)) for name, targets in left.items()}


@pytest.mark.parametrize("library", HOMES)
def test_every_heavy_library_has_one_home(library: str) -> None:
    """And is imported there at first use, but for torch in training and numba in kernels."""
    homes, eagerly = HOMES[library]
    uses = [found for found in IMPORTS if top(found.module) == library]
    assert uses, f"nothing imports {library}: take it out of this list"
    for found in uses:
        where = f"{found.file}:{found.line} imports {found.module}"
        assert found.for_types or found.file.startswith(homes), where
        late = not found.eager or SUBCLASSES.get(found.file) == library
        assert eagerly or late, f"{where} at the top of the file"


def test_what_imports_a_heavy_library_at_its_top_is_imported_at_first_use() -> None:
    for file in SUBCLASSES:
        module = file.removesuffix(".py").replace("/", ".")
        uses = [found for found in IMPORTS if found.module == module]
        assert uses
        assert not [f"{found.file}:{found.line}" for found in uses if found.eager]


# The files that solve a task's examples again, and what of the task they may know beside each other: facts to
# which examples are held, not how they are made.
VALIDATORS = {
    "depo": (("validate",), ()),
    "brevo": (("validate",), ()),
    "mano": (("validate",), ()),
    "lano": (
        ("validate", "derived", "parse", "weights", "spans", "trees", "tables", "inside", "rows"),
        ("grammar",),
    ),
    "capo": (("validate", "outline", "parse", "reading", "told"), ("text", "people", "tokenizer", "config")),
}
# What anyone may know: types, columns, the compiler, tokenizers, errors; and what validators alone share.
NEUTRAL = {"tasks.base", "tasks.core.batch", "tasks.core.kernels", "tasks.core.tokenizer", "tasks.errors"}
OF_VALIDATORS = "tasks.core.parsing"


def test_every_task_has_a_validator_here() -> None:
    assert set(VALIDATORS) == set(TASKS)


@pytest.mark.parametrize("task", VALIDATORS)
def test_the_validator_shares_nothing_with_the_generator(task: str) -> None:
    """Promise 3: no words, stream, generator or helper of one."""
    own, facts = VALIDATORS[task]
    modules = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".") for path in sources()}
    files = {f"tasks/{task}/{name}.py" for name in own}
    used = {found.module for found in IMPORTS if found.file in files} & modules
    assert f"tasks/{task}/validate.py" in files
    assert used <= NEUTRAL | {OF_VALIDATORS} | {f"tasks.{task}.{name}" for name in (*own, *facts)}
    assert used >= {"tasks.base", "tasks.core.batch"}


def test_what_validators_share_is_theirs_alone() -> None:
    users = {found.file for found in IMPORTS if found.module == OF_VALIDATORS}
    assert users == {"tasks/depo/validate.py", "tasks/brevo/validate.py"}


def loaded_by(code: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after running `code`."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"{code}\nimport sys\nprint('\\n'.join(sys.modules))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return {top(module) for module in done.stdout.splitlines()}


HEAVY = {
    "ray",
    "torch",
    "transformers",
    "hydra",
    "omegaconf",
    "datasets",
    "wandb",
    "jinja2",
    "matplotlib",
    "numba",
    "pyarrow",
    "fsspec",
    "s3fs",
}


@pytest.mark.parametrize(
    ("code", "needs"),
    [
        ("import ostraca.tasks", set()),
        ("from ostraca import cli; cli.main([])", set()),
        ("import ostraca.tasks.base", {"pyarrow"}),
        ("import ostraca.tasks.depo", {"pyarrow", "numba"}),
        ("import ostraca.loaders", {"pyarrow", "numba"}),
        ("import ostraca.pipeline.build.build", {"pyarrow", "numba"}),
    ],
)
def test_light_doors_stay_light(code: str, needs: set[str]) -> None:
    """What is imported brings in no more heavy libraries than it needs."""
    assert loaded_by(code) & HEAVY <= needs


def lines_loaded(code: str) -> dict[str, int]:
    """Module of pipeline -> its lines, of those that a fresh interpreter has after running `code`."""
    told = (
        f"{code}\nimport sys\n"
        "for name, module in list(sys.modules.items()):\n"
        "    if name.startswith('ostraca.pipeline'):\n"
        "        print(name.removeprefix('ostraca.'), len(open(module.__file__).read().splitlines()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", told], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return {name: int(lines) for name, lines in (line.split() for line in done.stdout.splitlines())}


def test_loaders_bring_in_no_builder(corpus: Path) -> None:
    """Of pipeline the door loads next to nothing, and a corpus that is read no engine, writer or store."""
    assert sum(lines_loaded("import ostraca.loaders").values()) < 2000
    read = lines_loaded(
        "from ostraca.loaders import CorpusSource, TokenStream\n"
        f"next(iter(TokenStream(CorpusSource({str(corpus)!r}), batch_size=1, length=32)))"
    )
    assert {room_of(name) for name in read} - {None} == LOADERS_SEE
    assert "pipeline.corpus.formats.parquet_reader" in read
    for unused in ("corpus.formats.parquet", "corpus.formats.webdataset", "store.remote", "store.lease"):
        assert f"pipeline.{unused}" not in read
    assert sum(read.values()) < 4200


def test_import_has_no_side_effects_on_numpy_or_numba() -> None:
    """Neither the global random state nor Numba's settings change on import."""
    code = """
import numba, numpy as np
before = np.random.get_state()[1].tolist(), numba.config.CACHE_DIR
import ostraca.tasks.depo, ostraca.loaders, ostraca.pipeline.build.build
assert (np.random.get_state()[1].tolist(), numba.config.CACHE_DIR) == before
"""
    assert "ostraca" in loaded_by(code)


BENCHMARKS = sorted((ROOT / "tests" / "benchmarks").glob("*.py"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmarks_import_what_there_is(path: Path) -> None:
    """No test runs them: a name that has moved would be missed."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and top(node.module or "") == "ostraca":
            module = node.module or ""
            for alias in node.names:
                there = getattr(importlib.import_module(module), alias.name, None)
                if there is None:
                    there = importlib.import_module(f"{module}.{alias.name}")
                assert alias.asname is None or not inspect.ismodule(there), f"{alias.name} is a module"
