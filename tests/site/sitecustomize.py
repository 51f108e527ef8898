"""Read by every Python that a test starts: transformers finds no scikit-learn, as where there is no lm-eval.

It imports it for assisted generation, with scipy.stats and pandas behind it: a third of what `import
transformers` takes, in each of some hundred processes.
"""

import sys

sys.modules["sklearn"] = None  # type: ignore[assignment]  # what makes an import fail, and find_spec find nothing
