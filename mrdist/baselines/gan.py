"""The generators of four adversarial networks for 128 x 128 faces, untrained: their size and speed need no training.

Built with PyTorch (the extra ``gan``) from the published descriptions:

- Pix2Pix: Isola, Zhu, Zhou, Efros, *Image-to-Image Translation with Conditional Adversarial Networks*, CVPR 2017, the
  U-Net of its appendix with seven halvings instead of eight;
- CycleGAN: Zhu, Park, Isola, Efros, *Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks*,
  ICCV 2017, appendix: c7s1-64, d128, d256, six R256, u128, u64, c7s1-3;
- StarGAN: Choi et al., CVPR 2018, table 4, with seven domains;
- GANimation: Pumarola et al., ECCV 2018: StarGAN's trunk with 17 action units, and a colour and an attention output.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

N_EXPRESSIONS = 7
N_ACTION_UNITS = 17
SIDE_UNIT = 128
"""The U-Net halves an image seven times, so that sides are multiples of this."""


@dataclass(frozen=True)
class Generator:
    """An untrained generator of colour images.

    Attributes
    ----------
    name
        Of the network.
    layers
        Its ``torch.nn.ModuleDict``.
    forward
        Takes the layers and images as a tensor of shape (image, channel, y, x) in -1..1, and returns such a tensor.
    """

    name: str
    layers: Any
    forward: Callable[[Any, Any], Any]

    @property
    def n_parameters(self) -> int:
        """Trainable numbers."""
        return sum(parameter.numel() for parameter in self.layers.parameters())

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Return what the network makes of images of shape (image, channel, y, x) in -1..1."""
        import torch

        with torch.inference_mode():
            made: npt.NDArray[np.float32] = self.forward(self.layers, torch.from_numpy(images)).numpy()
        return made


def generators() -> list[Generator]:
    """Return the four generators, with random weights and ready to predict.

    Raises
    ------
    ImportError
        If PyTorch is not installed.
    """
    made = [pix2pix(), cyclegan(), stargan(), ganimation()]
    for generator in made:
        generator.layers.eval()
    return made


def pix2pix() -> Generator:
    """Return the U-Net of Pix2Pix: seven halvings to one pixel, each joined to the doubling of its size."""
    from torch import nn

    widths = (3, 64, 128, 256, 512, 512, 512, 512)
    last = len(widths) - 2
    down, up = nn.ModuleList(), nn.ModuleList()
    for level, (outer, inner) in enumerate(pairwise(widths)):
        halve = [nn.Conv2d(outer, inner, 4, stride=2, padding=1, bias=False)]
        if level > 0:
            halve.insert(0, nn.LeakyReLU(0.2))
        if 0 < level < last:
            halve.append(nn.BatchNorm2d(inner))
        down.append(nn.Sequential(*halve))
        joined = inner if level == last else 2 * inner
        double = [nn.ReLU(), nn.ConvTranspose2d(joined, outer, 4, stride=2, padding=1, bias=level == 0)]
        up.append(nn.Sequential(*double, nn.Tanh() if level == 0 else nn.BatchNorm2d(outer)))

    def forward(layers: Any, x: Any) -> Any:
        import torch

        passed = []
        for halve in layers["down"]:
            x = halve(x)
            passed.append(x)
        for level in range(last, -1, -1):
            x = layers["up"][level](x if level == last else torch.cat([passed[level], x], dim=1))
        return x

    return Generator("Pix2Pix", nn.ModuleDict({"down": down, "up": up}), forward)


def cyclegan() -> Generator:
    """Return CycleGAN's generator for 128 x 128 pixels."""
    from torch import nn

    def normed(layer: Any, width: int) -> list[Any]:
        return [layer, nn.InstanceNorm2d(width), nn.ReLU()]

    def residual(width: int) -> Any:
        convolve = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(width, width, 3), nn.InstanceNorm2d(width)]
        return nn.Sequential(*convolve, nn.InstanceNorm2d(width), nn.ReLU(), *again)

    enter = nn.Sequential(
        nn.ReflectionPad2d(3),
        *normed(nn.Conv2d(3, 64, 7), 64),
        *normed(nn.Conv2d(64, 128, 3, stride=2, padding=1), 128),
        *normed(nn.Conv2d(128, 256, 3, stride=2, padding=1), 256),
    )
    leave = nn.Sequential(
        *normed(nn.ConvTranspose2d(256, 128, 3, stride=2, padding=1, output_padding=1), 128),
        *normed(nn.ConvTranspose2d(128, 64, 3, stride=2, padding=1, output_padding=1), 64),
        nn.ReflectionPad2d(3),
        nn.Conv2d(64, 3, 7),
        nn.Tanh(),
    )

    def forward(layers: Any, x: Any) -> Any:
        return layers["leave"](_through_residuals(layers, layers["enter"](x)))

    blocks = nn.ModuleList([residual(256) for _ in range(6)])
    return Generator("CycleGAN", nn.ModuleDict({"enter": enter, "blocks": blocks, "leave": leave}), forward)


def stargan() -> Generator:
    """Return StarGAN's generator; the wanted domain enters as planes of zeros and ones."""
    from torch import nn

    layers = _conditional_trunk(N_EXPRESSIONS)
    layers["color"] = nn.Sequential(nn.Conv2d(64, 3, 7, padding=3, bias=False), nn.Tanh())

    def forward(layers: Any, x: Any) -> Any:
        return layers["color"](_conditional(layers, x, N_EXPRESSIONS))

    return Generator("StarGAN", layers, forward)


def ganimation() -> Generator:
    """Return GANimation's generator: its colour image is blended with the input by an attention mask."""
    from torch import nn

    layers = _conditional_trunk(N_ACTION_UNITS)
    layers["color"] = nn.Sequential(nn.Conv2d(64, 3, 7, padding=3, bias=False), nn.Tanh())
    layers["attention"] = nn.Sequential(nn.Conv2d(64, 1, 7, padding=3, bias=False), nn.Sigmoid())

    def forward(layers: Any, x: Any) -> Any:
        features = _conditional(layers, x, N_ACTION_UNITS)
        keeps = layers["attention"](features)
        return keeps * x + (1 - keeps) * layers["color"](features)

    return Generator("GANimation", layers, forward)


def _conditional_trunk(n_conditions: int) -> Any:
    from torch import nn

    def normed(layer: Any, width: int) -> list[Any]:
        return [layer, nn.InstanceNorm2d(width, affine=True), nn.ReLU()]

    def residual(width: int) -> Any:
        first, second = (nn.Conv2d(width, width, 3, padding=1, bias=False) for _ in range(2))
        return nn.Sequential(*normed(first, width), second, nn.InstanceNorm2d(width, affine=True))

    enter = nn.Sequential(
        *normed(nn.Conv2d(3 + n_conditions, 64, 7, padding=3, bias=False), 64),
        *normed(nn.Conv2d(64, 128, 4, stride=2, padding=1, bias=False), 128),
        *normed(nn.Conv2d(128, 256, 4, stride=2, padding=1, bias=False), 256),
    )
    leave = nn.Sequential(
        *normed(nn.ConvTranspose2d(256, 128, 4, stride=2, padding=1, bias=False), 128),
        *normed(nn.ConvTranspose2d(128, 64, 4, stride=2, padding=1, bias=False), 64),
    )
    blocks = nn.ModuleList([residual(256) for _ in range(6)])
    return nn.ModuleDict({"enter": enter, "blocks": blocks, "leave": leave})


def _conditional(layers: Any, x: Any, n_conditions: int) -> Any:
    import torch

    wanted = torch.zeros(x.shape[0], n_conditions, *x.shape[2:])
    wanted[:, 0] = 1
    return layers["leave"](_through_residuals(layers, layers["enter"](torch.cat([x, wanted], dim=1))))


def _through_residuals(layers: Any, x: Any) -> Any:
    for block in layers["blocks"]:
        x = x + block(x)
    return x
