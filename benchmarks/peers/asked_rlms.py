"""One run of rlms, in its own environment: base URL, how often. Prints the seconds of each.

Its last run's answer goes with them.
"""

import contextlib
import io
import json
import sys
import time

from rlm import RLM

url, times = sys.argv[1], int(sys.argv[2])
options = {"base_url": url, "api_key": "none", "timeout": 10}
rlm = RLM(
    backend="openai",
    backend_kwargs={"model_name": "root", **options},
    other_backends=["openai"],
    other_backend_kwargs=[{"model_name": "sub", **options}],
    environment="local",
)
seconds, text = [], ""
for _ in range(times):
    began = time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        text = rlm.completion("a short text", root_prompt="What do they say?").response
    seconds.append(time.perf_counter() - began)
print(json.dumps({"seconds": seconds, "answer": text}))
