"The shared floor: what all spaces use; it knows no paper."
from metanb.core.signatures import lazy

__getattr__, __dir__, __all__ = lazy(__name__, {})
