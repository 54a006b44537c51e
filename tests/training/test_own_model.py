"""A model of the user's own: `model=my_module:MyModel`, twenty lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from small import curve_config, curve_words

from ostraca import cli
from ostraca.tasks.errors import ConfigError
from ostraca.training import curve
from ostraca.training.models.build import build_model

README = Path(__file__).parents[2] / "training" / "README.md"
HEAD = "import torch\nfrom torch import nn\n"
# What is wrong with a module, and what is said.
WRONG = {
    "raise ValueError('no\\nluck')": r"cannot import wrong_{}: ValueError: no luck",
    "M = 3": r"wrong_{} has nothing called M that can be called",
    "def M(vocab_size, width): return nn.Linear(1, 1)": r"M\(18\) failed: TypeError: .*width",
    "def M(vocab_size): return [1]": r"gave a list; it must give a torch.nn.Module",
    "def M(vocab_size): return nn.Linear(3, 3)": r"fails on ids of shape \(1, 8\): RuntimeError",
    "def M(vocab_size): return nn.Embedding(vocab_size, 5)": r"gives \(1, 8, 5\); .* shape \(1, 8, 18\)",
    "class M(nn.Module):\n def __init__(self, v): super().__init__()\n def forward(self, x): return (x,)": (
        r"it gives tuple; it must give logits"
    ),
    "class M(nn.Sequential):\n"
    " def __init__(self, v): super().__init__(nn.Embedding(v - 1, 4), nn.Linear(4, v))": (
        r"fails on ids of shape \(1, 8\): IndexError: index out of range"
    ),
}


def documented() -> str:
    """The model in training/README.md."""
    (text,) = re.findall(r"```python\n# my_module\.py\n(.*?)```", README.read_text(), flags=re.DOTALL)
    return str(text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def test_the_documented_model_is_trained(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = documented()
    assert len(text.strip().splitlines()) <= 20
    (here / "my_module.py").write_text(text)
    words = [word for word in curve_words(here / "run") if not word.startswith("model")]
    assert cli.main(["curve", *words, "model=my_module:MyModel", "model.options={width: 16}"]) == 0
    assert "MyModel: " in capsys.readouterr().out
    assert (here / "run/checkpoints/step-00000004/model.safetensors").is_file()
    assert cli.main(["curve", *words, "model=my_module:MyModel", "model.options={width: 16}"]) == 0
    assert "is finished at step 4" in capsys.readouterr().out
    assert cli.main(["curve", *words, "model=my_module:MyModel", "model.options={width: 24}"]) == 2
    assert "model.options.width is 16 there and 24 here" in capsys.readouterr().err


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_no_model_is_told(number: int, here: Path) -> None:
    body, line = list(WRONG.items())[number]
    (here / f"wrong_{number}.py").write_text(HEAD + body + "\n")
    config = {"name": "M", "kind": "own", "target": f"wrong_{number}:M", "options": {}}
    with pytest.raises(ConfigError, match=rf"^model=wrong_{number}:M: .*{line.format(number)}") as caught:
        build_model(config, vocab_size=18, positions=64, seed=0)
    assert "\n" not in str(caught.value)


def test_a_module_that_is_not_there_is_told(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [word for word in curve_words(here / "run") if not word.startswith("model")]
    assert cli.main(["curve", *words, "model=nowhere:M"]) == 2
    assert capsys.readouterr().err == (
        "ostraca: model=nowhere:M: cannot import nowhere: there is none on Python's path or in the current "
        "folder\n"
    )
    assert not (here / "run").exists()


@pytest.mark.parametrize("takes", [True, False])
def test_documents_are_kept_apart_by_what_can(takes: bool, here: Path) -> None:
    more = ", position_ids=None" if takes else ""
    body = "class M(nn.Embedding):\n def __init__(self, v): super().__init__(v, v)\n"
    body += f" def forward(self, x{more}): return super().forward(x)\n"
    (here / f"mask_{takes}.py").write_text(HEAD + body)
    config = curve_config(here / "run", "train.document_mask=true")
    config["model"] = {"name": "M", "kind": "own", "target": f"mask_{takes}:M", "options": {}}
    if takes:
        curve.run(config)
    else:
        with pytest.raises(ConfigError, match="takes no position_ids"):
            curve.run(config)
