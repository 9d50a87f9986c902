"""The `gas` command line."""

import os

# gas uses no plugins of pydantic, and looking for them reads every installed distribution and dies on a malformed one.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "1")
