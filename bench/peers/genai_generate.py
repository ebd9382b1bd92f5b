"""onnxruntime-genai's Generator on a folder: python genai_generate.py FOLDER PROMPT_TOKENS NEW_TOKENS REQUESTS SEED.

All requests start together, as one batch. The last line is one JSON object: seconds to the first token, seconds to the
last, tokens of each. The folder's genai_config.json says how many threads.
"""

import json
import sys
import time

import numpy as np
import onnxruntime_genai as genai

folder, *numbers = sys.argv[1:]
prompt_tokens, new_tokens, requests, seed = map(int, numbers)
model = genai.Model(folder)
prompts = np.random.default_rng(seed).integers(0, 200, (requests, prompt_tokens), dtype=np.int32)


def generated(prompts: np.ndarray, new_tokens: int) -> tuple[float, float, int]:
    params = genai.GeneratorParams(model)
    params.set_search_options(
        batch_size=len(prompts), max_length=prompts.shape[1] + new_tokens, do_sample=False, early_stopping=False
    )
    generator = genai.Generator(model, params)
    begin = time.perf_counter()
    generator.append_tokens(prompts)
    first, steps = 0.0, 0
    while not generator.is_done():
        generator.generate_next_token()
        steps += 1
        first = first or time.perf_counter() - begin
    return first, time.perf_counter() - begin, steps


generated(prompts, 4)
first, last, steps = generated(prompts, new_tokens)
print(json.dumps({"first": first, "last": last, "tokens": steps}))
