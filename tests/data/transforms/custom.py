"""Transforms of a user's own that go wrong in every way there is."""

import os
import time
from pathlib import Path

import numpy as np

from distmtl.data.transforms.base import ColumnInfo


class Same:
    """Reads the images and gives them back; what a subclass does in ``apply`` comes first."""

    reads = ("image",)

    def describe(self, columns):
        return {"image": columns["image"]}

    def apply(self, rows):
        return {"image": rows.columns["image"]}


class FailsOn(Same):
    """Fails on the rows whose number is given."""

    def __init__(self, row):
        self.row = row

    def apply(self, rows):
        if (rows.columns["image"][:, 0, 0, 0] == self.row * 20).any():
            raise ValueError(f"cannot bear {self.row}.")
        return super().apply(rows)


class FailsOnCrowds(Same):
    """Fails on more than one row, whichever they are."""

    def apply(self, rows):
        if len(rows.columns["image"]) > 1:
            raise RuntimeError("too many")
        return super().apply(rows)


class Dies(Same):
    """Ends its process without a word, once there is a row with this number."""

    def __init__(self, row, how=3):
        self.row, self.how = row, how

    def apply(self, rows):
        if (rows.columns["image"][:, 0, 0, 0] == self.row * 20).any():
            if self.how < 0:
                os.kill(os.getpid(), -self.how)
            os._exit(self.how)
        return super().apply(rows)


class Sleeps(Same):
    """Takes its time, and says so by writing its process id."""

    def __init__(self, folder, seconds):
        self.folder, self.seconds = folder, seconds

    def apply(self, rows):
        (Path(self.folder) / str(os.getpid())).touch()
        time.sleep(self.seconds)
        return super().apply(rows)


class Gives(Same):
    """Describes the images truly, and gives something else."""

    def __init__(self, what):
        self.what = what

    def apply(self, rows):
        image = rows.columns["image"]
        return {
            "float": lambda: {"image": image.astype(np.float32)},
            "short": lambda: {"image": image[:-1]},
            "flat": lambda: {"image": image.reshape(len(image), -1)},
            "nothing": dict,
            "more": lambda: {"image": image, "more": image},
        }[self.what]()


class Undescribed(Same):
    def describe(self, columns):
        return {"image": ColumnInfo("tensor", "int32", columns["images"].shape)}


class Unread(Same):
    reads = ("picture",)


class NoTransform:
    pass
