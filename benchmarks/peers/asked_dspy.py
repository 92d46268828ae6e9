"""One run of dspy.RLM, in its own environment: base URL, how often. Prints the seconds of each.

Its last run's answer goes with them. Code runs in dspy's default interpreter, which needs Deno; in
its ``LocalInterpreter``, which holds nothing, where the third argument is ``local``. With ``probe``
for the URL it only says whether the default one starts.
"""

import json
import sys
import time

import dspy
from dspy.primitives import LocalInterpreter

url, times = sys.argv[1], int(sys.argv[2])
if url == "probe":
    with dspy.PythonInterpreter() as interpreter:
        interpreter.execute("1")
    sys.exit()
options = {"api_base": url, "api_key": "none", "cache": False, "timeout": 10}
dspy.configure(lm=dspy.LM("openai/root", **options))
sub = dspy.LM("openai/sub", **options)
factory = LocalInterpreter if sys.argv[3:] == ["local"] else dspy.PythonInterpreter
rlm = dspy.RLM(
    "context, query -> answer", max_llm_calls=10_000, sub_lm=sub, interpreter_factory=factory
)
seconds, text = [], ""
for _ in range(times):
    began = time.perf_counter()
    text = rlm(context="a short text", query="What do they say?").answer
    seconds.append(time.perf_counter() - began)
print(json.dumps({"seconds": seconds, "answer": text}))
