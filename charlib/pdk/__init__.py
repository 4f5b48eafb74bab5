"""Process kits: what exists, where it is cached, and what a deck needs of it."""

from charlib.pdk.catalog import KITS, KitRecipe, recipe
from charlib.pdk.install import install_pdk, installed, kit_dir, load_pdk
from charlib.pdk.model import Corner, Device, Geometry, Pdk, card_files
from charlib.pdk.own_cell import CellFile

__all__ = ["KITS", "CellFile", "Corner", "Device", "Geometry", "KitRecipe", "Pdk", "card_files", "install_pdk",
           "installed", "kit_dir", "load_pdk", "recipe"]
