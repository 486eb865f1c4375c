"""A small convolutional trunk for images."""

from itertools import pairwise

from torch import Tensor, nn

from distmtl.models.dropout import KeyedDropout


class ImageTrunk(nn.Module):
    """``image`` [N, 1, H, W] float32 to features [N, width]. GroupNorm, since BatchNorm would mix rows."""

    def __init__(self, groups, channels: int = 24, width: int = 256, dropout: float = 0.3) -> None:
        super().__init__()
        _, height, width_px = next(group.columns[0].shape for group in groups if group.name == "image")
        self.width = width  # heads are sized by it
        sizes = (1, channels, 2 * channels, 4 * channels)
        blocks = [
            nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.GroupNorm(4, b), nn.ReLU(), nn.MaxPool2d(2))
            for a, b in pairwise(sizes)
        ]
        flat = sizes[-1] * (height // 8) * (width_px // 8)
        self.layers = nn.Sequential(*blocks, nn.Flatten(), nn.Linear(flat, width), nn.ReLU(), KeyedDropout(dropout))

    def forward(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.layers(inputs["image"].to(next(self.parameters()).dtype))
