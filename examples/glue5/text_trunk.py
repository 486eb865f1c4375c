"""A trunk for one text or two: what words there are, how they follow one another, and how two texts compare."""

import torch
from torch import Tensor, nn

from distmtl.models.dropout import KeyedDropout


class TextTrunk(nn.Module):
    """``tokens`` [N, T] (0 fills up, 1 stands between two texts) to features [N, width]."""

    def __init__(self, groups, words: int = 128, width: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        ids = next(group.columns[0].size for group in groups if group.name == "tokens")
        self.width = width  # heads are sized by it
        self.words, self.weights = nn.Embedding(ids, words), nn.Embedding(ids, 1)
        nn.init.normal_(self.words.weight, std=words**-0.5)
        nn.init.zeros_(self.weights.weight)  # every word counts alike at first
        self.phrases = nn.Conv1d(words, words, 3, padding=1)
        self.layers = nn.Sequential(nn.Linear(5 * words + 1, width), nn.ReLU(), KeyedDropout(dropout))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        ids = inputs["tokens"]
        is_word, second = ids > 1, (ids == 1).cumsum(1) > 0
        words, weights = self.words(ids) * is_word[..., None], self.weights(ids)[..., 0].exp()
        sides = [weights * (is_word & side) for side in (~second, second)]
        sides = [side / side.sum(1, keepdim=True).clamp_min(1e-6) for side in sides]
        a, b = (torch.einsum("nt,ntw->nw", side, words) for side in sides)
        alike = nn.functional.cosine_similarity(a, b, eps=1e-6)[:, None]
        phrases = self.phrases(words.transpose(1, 2)).relu().mul(is_word[:, None]).amax(2)
        return self.layers(torch.cat([a, b, (a - b).abs(), a * b, phrases, alike], dim=1))
