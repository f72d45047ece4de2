"""The embedded sample site: a synthetic MedPix, rendered from a seed, and a server of it on a loopback port."""

from rgc.phantom.generate import generate
from rgc.phantom.recipe import Recipe
from rgc.phantom.serving import serving

__all__ = ["Recipe", "generate", "serving"]
