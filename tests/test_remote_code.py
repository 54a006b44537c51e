"""A folder with code of its own (`auto_map`) is refused in one line: nothing asks, nothing runs it."""

from __future__ import annotations

import ast
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from test_layering import sources

from ostraca.tasks.capo.tokenizer import load_tokenizer
from ostraca.tasks.errors import OstracaError
from ostraca.tasks.render import tokenizer_names

CODE = """
open({mark!r}, "w").close()
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizer as Tokenizer
class Config(GPT2Config): model_type = "evil"
class Model(GPT2LMHeadModel): config_class = Config
"""


def load_model(folder: str) -> object:
    from ostraca.training.models.build import build_model

    config = {"kind": "from_pretrained", "name_or_path": folder}
    return build_model(config, vocab_size=18, positions=40, seed=0)


@pytest.mark.parametrize("load", [load_tokenizer, tokenizer_names, load_model])
def test_code_in_a_folder_is_never_run(
    load: Callable[[str], object],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Not even where somebody answers `y` to whatever is asked."""
    pytest.importorskip("transformers")
    folder, mark = tmp_path / "folder", tmp_path / "ran"
    folder.mkdir()
    (folder / "evil.py").write_text(CODE.format(mark=str(mark)))
    maps = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Model"}
    (folder / "config.json").write_text(json.dumps({"model_type": "evil", "auto_map": maps}))
    about = {"tokenizer_class": "Tokenizer", "auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n" * 9))
    with pytest.raises(
        OstracaError, match=r"code of its own \(auto_map\), which ostraca never runs"
    ) as caught:
        load(str(folder))
    assert "\n" not in str(caught.value)
    assert not mark.exists()
    assert sys.stdin.tell() == 0
    assert "y/N" not in "".join(capsys.readouterr())


def test_transformers_is_always_told_so() -> None:
    """Every call of ours that loads something by name says `trust_remote_code=False`."""
    seen = 0
    for path in sources():
        for node in ast.walk(ast.parse(path.read_text())):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            if node.func.attr in ("from_pretrained", "from_config", "pipeline", "load_dataset"):
                seen += 1
                said = {each.arg: ast.unparse(each.value) for each in node.keywords}
                where = f"{path}:{node.lineno} {ast.unparse(node.func)}"
                assert said.get("trust_remote_code") == "False", where
    assert seen > 2
