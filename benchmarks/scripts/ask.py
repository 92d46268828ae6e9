"""Ask through the library: base URL, file, runs folder."""

import sys
from pathlib import Path

from abyme import RLM

url, data, runs = sys.argv[1:]
answer = RLM("root", base_url=url, api_key="", runs=runs).completion("Who slept?", Path(data))
assert answer.status == "complete", answer.reason
