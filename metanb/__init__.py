"Literate notebooks for generative inverse design of mechanical metamaterials."
__version__ = "0.3.0"
