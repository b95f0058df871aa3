"""Start the worker where parmlp is not installed: in the environment of a rival.

This package's folder is made known as ``parmlp`` without running its ``__init__``, and nothing else
of our own environment gets onto the rival's path. The worker needs nothing but NumPy.
"""

import runpy
import sys
import types
from pathlib import Path

package = types.ModuleType("parmlp")
package.__path__ = [str(Path(__file__).resolve().parents[2])]
sys.modules["parmlp"] = package
runpy.run_module("parmlp.study.measure.worker", run_name="__main__", alter_sys=True)
