"""One experiment: train, save, then evaluate; not to be kept."""
import argparse, json, time, os
import torch
from pathlib import Path
p = argparse.ArgumentParser()
p.add_argument("--name"); p.add_argument("--out", type=Path); p.add_argument("--steps", type=int, default=4000)
p.add_argument("--decay", type=int, default=1000); p.add_argument("--seed", type=int, default=1); p.add_argument("--clock", default="time"); p.add_argument("--device", default="cpu")
p.add_argument("--workers", type=int, default=2); p.add_argument("--clips", type=int, default=150)
p.add_argument("--recipe", default="{}")
o = p.parse_args()
torch.set_num_threads(1)
from train.recipe import Recipe
from train.trainer import train
from train.evaluate import held_out, score, tally
from train.quick import say
from train.save import save
from train.scenes import caption
from train.variant import V
began = time.monotonic()
log = [json.dumps({"name": o.name, "variant": V, "torch": torch.__version__})]
def tell(text):
    log.append(text)
    (o.out / f"{o.name}.log").write_text("\n".join(log) + "\n")
recipe = Recipe(**{"steps": o.steps, "decay": o.decay, "seed": o.seed, "clock": o.clock, **json.loads(o.recipe)})
run = train(recipe, device=o.device, workers=o.workers, say=tell, every=250)
from copy import deepcopy
save(deepcopy(run.average).cpu(), run.tokenizer, o.out / (o.name + ".part"))
(o.out / (o.name + ".part")).rename(o.out / o.name)
tell(json.dumps({"trained": time.monotonic() - began}))
device = torch.device(o.device)
for combos in (True, False):
    scenes = held_out(o.clips, combinations=combos)
    texts = say(run.average, run.tokenizer, scenes, o.clock, device=device)
    tell(json.dumps({"pairs": combos, "clock": o.clock, **{k: round(a / b, 3) for k, (a, b) in tally(score(s, t) for s, t in zip(scenes, texts)).items()}}))
    tell("\n".join(f"   {caption(s)} | {t}" for s, t in zip(scenes, texts) if caption(s) != t)[:6000])
tell(json.dumps({"took": time.monotonic() - began}))
