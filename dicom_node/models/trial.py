"""Loads a model once, in a process of its own: ``python -m dicom_node.models.trial FOLDER``.

`dicom_node.models.changes` starts it: panel and commands try a model before it is chosen, and neither loads torch.
"""

import json
import sys

from inference.errors import InferenceError
from inference.model_bundle import load_model


def main(folder: str) -> int:
    """Build the networks of a model; print why that is not possible."""
    try:
        load_model(folder, "cpu")
    except InferenceError as error:
        sys.stdout.write(json.dumps({"reason": error.reason, "sentence": str(error)}))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
