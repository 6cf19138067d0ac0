"""Which models there are, where their files lie, and whether they are the right ones.

Only `pipeline.models.pull` ever touches the network, and only for models that a catalog names at a fixed revision.
"""

from pipeline.models.catalog import Catalog, HubSource, JoinedSource, Model, ModelFile, PackageSource, load_catalog
from pipeline.models.verify import ModelRow, ModelState, list_models, locate, verify_all

__all__ = [
    "Catalog",
    "HubSource",
    "JoinedSource",
    "Model",
    "ModelFile",
    "ModelRow",
    "ModelState",
    "PackageSource",
    "list_models",
    "load_catalog",
    "locate",
    "verify_all",
]
