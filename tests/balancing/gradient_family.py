"""The balancers that combine gradients by their Gramian."""

from distmtl.balancing.aligned_mtl import AlignedMtl
from distmtl.balancing.cagrad import CaGrad
from distmtl.balancing.config import ConFig
from distmtl.balancing.dualproj import DualProj
from distmtl.balancing.fairgrad import FairGrad
from distmtl.balancing.gradvac import GradVac
from distmtl.balancing.imtl_g import ImtlG
from distmtl.balancing.mgda import Mgda
from distmtl.balancing.nash_mtl import NashMtl
from distmtl.balancing.pcgrad import PcGrad
from distmtl.balancing.sdmgrad import SdmGrad
from distmtl.balancing.upgrad import UpGrad
from tests.balancing.laws import Make

GRADIENT_FAMILY: dict[str, Make] = {
    "mgda": lambda tasks: Mgda(),
    "mgda_l2": lambda tasks: Mgda(normalise="l2"),
    "mgda_loss+": lambda tasks: Mgda(normalise="loss+"),
    "pcgrad": lambda tasks: PcGrad(),
    "gradvac": lambda tasks: GradVac(),
    "cagrad": lambda tasks: CaGrad(),
    "imtl_g": lambda tasks: ImtlG(),
    "nash_mtl": lambda tasks: NashMtl(),
    "aligned_mtl": lambda tasks: AlignedMtl(),
    "fairgrad": lambda tasks: FairGrad(),
    "upgrad": lambda tasks: UpGrad(),
    "upgrad_each": lambda tasks: UpGrad(ridge=1e-8, ridge_of="each"),
    "dualproj": lambda tasks: DualProj(),
    "config": lambda tasks: ConFig(),
    "sdmgrad": lambda tasks: SdmGrad(),
}

ANY_SIGN = ("imtl_g", "aligned_mtl", "config")
"""Methods whose weights may be negative."""

BY_PLACE = ("pcgrad", "gradvac")
"""Methods that draw an order of the tasks, which goes by the task's place."""
