"""A reward behind HTTP for reward.server, in an environment of its own, for packages that cannot live beside the lab's.

    python reward_server.py hpsv3                     after: python -m pip install hpsv3
    python reward_server.py deqa                      after: python -m pip install transformers==4.36.1 torch accelerate
    python reward_server.py my_rewards.py:redness     a function as in the README

Needs only Pillow and NumPy beside what the reward needs, so copy this one file to where that is installed. It listens
on this machine only; with --host for others, set the environment variable DGPO_REWARD_KEY to the same on both sides.
"""

import argparse
import base64
import hmac
import importlib.util
import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

LARGEST_QUESTION = 256_000_000


def hpsv3():
    """HPSv3 (Ma et al. 2025): a vision-language model of 7 billion weights, fetched on first use; wants a GPU."""
    from hpsv3 import HPSv3RewardInferencer

    model = HPSv3RewardInferencer(device="cuda")

    def judge(pictures, prompts):
        means_and_spreads = model.reward(image_paths=[Image.fromarray(one) for one in pictures], prompts=prompts)
        return [float(mean_and_spread[0]) for mean_and_spread in means_and_spreads]

    return judge


def deqa():
    """DeQA-Score (You et al. 2025): technical quality, 1 to 5; 7 billion weights, fetched on first use; wants a GPU.

    Its model is code of its repository, which runs with your rights: trust_remote_code says that you trust it.
    """
    import torch
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(
        "zhiyuanyou/DeQA-Score-Mix3",
        trust_remote_code=True,
        attn_implementation="eager",
        torch_dtype=torch.float16,
        device_map="auto",
    )

    def judge(pictures, prompts):
        with torch.no_grad():
            return [float(mark) for mark in model.score([Image.fromarray(one) for one in pictures])]

    return judge


KNOWN = {"hpsv3": hpsv3, "deqa": deqa}


def own(name):
    """The function that file.py:function names."""
    path, _, attribute = name.rpartition(":")
    if not Path(path).is_file():
        raise SystemExit(f"There is no reward {name!r}. Name hpsv3, deqa, or a function of yours as file.py:function.")
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, attribute)


def handler_of(judge, key):
    """Answers POST with {"rewards": [...]}; a question without the key or of another shape gets one sentence."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            size = int(self.headers.get("Content-Length") or 0)
            given = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            if key and not hmac.compare_digest(given.encode(), key.encode()):
                return self.answer(401, {"error": "The key is wrong: set DGPO_REWARD_KEY to the server's."})
            if not 0 < size <= LARGEST_QUESTION:
                return self.answer(413, {"error": f"{size} bytes; 1 to {LARGEST_QUESTION} are allowed."})
            try:
                question = json.loads(self.rfile.read(size))
                pictures = [as_array(one) for one in question["pictures"]]
                prompts = [str(one) for one in question["prompts"]]
            except (ValueError, KeyError, TypeError, OSError) as error:
                return self.answer(400, {"error": f"pictures and prompts are wanted, in JSON: {error!r}"})
            return self.answer(
                200, {"rewards": [None if one is None else float(one) for one in judge(pictures, prompts)]}
            )

        def answer(self, status, value):
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def as_array(picture):
    """uint8 (H, W, 3) from PNG in base64."""
    return np.asarray(Image.open(BytesIO(base64.b64decode(picture))).convert("RGB"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reward", help="hpsv3, deqa, or file.py:function")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8900)
    arguments = parser.parse_args()
    judge = KNOWN[arguments.reward]() if arguments.reward in KNOWN else own(arguments.reward)
    server = HTTPServer((arguments.host, arguments.port), handler_of(judge, os.environ.get("DGPO_REWARD_KEY", "")))
    print(f"Set reward.server to http://{arguments.host}:{server.server_address[1]}", flush=True)
    server.serve_forever()
