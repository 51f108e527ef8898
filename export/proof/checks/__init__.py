"""Programs that open an output with a stock runtime. Each runs by path in a fresh process, without dotresize.

Usage of each: `python -I RUNNER.py ARTEFACT PROMPTS_JSON OUT_DIR`. A runner writes `logits.safetensors`
(one float32 array per prompt, keys "0", "1", ...) and `result.json` into OUT_DIR. It judges nothing.
"""
