"""The base image of the sandboxes: found by what it is, and built from a registry or from Debian's packages."""

from fairlead_sandbox.image._build import ImageBuildError, build_image
from fairlead_sandbox.image._image import TAG, Image, check_python, find_image, remove_old_images
from fairlead_sandbox.image._recipe import DebianRecipe, Recipe, RegistryRecipe

__all__ = [
    "TAG",
    "DebianRecipe",
    "Image",
    "ImageBuildError",
    "Recipe",
    "RegistryRecipe",
    "build_image",
    "check_python",
    "find_image",
    "remove_old_images",
]
