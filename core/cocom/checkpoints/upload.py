"""A model and its card, into a repository on the hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cocom.errors import CheckpointError

if TYPE_CHECKING:
    from cocom.engine import Cocom

__all__ = ["card", "upload"]

_CARD = """---
library_name: cocom
tags: [context-compression, retrieval-augmented-generation, cocom]
---

# {name}

A context compression model (COCOM, arXiv 2407.09252) for [cocom](https://pypi.org/project/cocom/): it turns
passages into a few context embeddings and answers questions from them.

```python
from cocom import Cocom

model = Cocom.from_pretrained("{name}")
contexts = model.compress(["Ada Lovelace was born in London in 1815."])
print(model.answer("Where was Ada Lovelace born?", contexts).text)
```

| | |
|---|---|
| language model | {model}, {parameters:,.0f} million parameters |
| compressor | {compressor} |
| compression rates | {rates} |
| window | {window} tokens |
| weights | {weights} |
| fingerprint | `{fingerprint}` |
"""


def card(model: Cocom, name: str) -> str:
    """A model card with what is known about a model from itself."""
    config = model.config
    language = model.backbone.model
    compressor = "the language model itself"
    if model.encoder is not None:
        assert config.encoder is not None
        compressor = f"{type(model.encoder.encoder).__name__} with head {config.encoder.head}"
    return _CARD.format(
        name=name,
        model=type(language).__name__,
        parameters=sum(p.numel() for p in language.parameters()) / 1e6,
        compressor=compressor,
        rates=", ".join(map(str, config.rates)),
        window=config.window,
        weights=config.weights,
        fingerprint=model.fingerprint[:12],
    )


def upload(
    model: Cocom,
    repository: str,
    *,
    private: bool,
    token: str | bool | None,
    revision: str | None,
    message: str,
) -> str:
    """Write a model into a repository (see `Cocom.push_to_hub`)."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    api = HfApi(token=token)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "model"
        model.save_pretrained(folder)
        (folder / "README.md").write_text(card(model, repository), encoding="utf-8")
        try:
            api.create_repo(repository, private=private, exist_ok=True)
            done = api.upload_folder(
                repo_id=repository,
                folder_path=folder,
                revision=revision,
                commit_message=message,
                # What an earlier model left behind would be taken for a part of this one.
                delete_patterns=["*.safetensors", "*.safetensors.index.json", "encoder/*"],
            )
        except (HfHubHTTPError, HFValidationError, OSError) as error:
            raise CheckpointError(f"'{repository}' could not be written: {error}") from error
    return str(done.commit_url)
