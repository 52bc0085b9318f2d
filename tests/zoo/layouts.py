"""Files of weights as training scripts lay them out."""

import collections
import json
import pickle

import safetensors.torch
import torch

OPTIMISER = {"state": {0: {"step": 3, "exp_avg": torch.rand(4, 4)}}, "param_groups": [{"lr": 0.1}]}
MEAN = torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)
STD = torch.tensor([0.1, 0.2, 0.3]).view(1, 3, 1, 1)


def before(prefix, weights):
    return collections.OrderedDict({f"{prefix}{name}": v for name, v in weights.items()})


def torchvision(weights, ema):
    """Of its references for classification, with --model-ema."""
    average = {"n_averaged": torch.tensor(7)} | before("module.", ema)
    rest = {"optimizer": OPTIMISER, "lr_scheduler": {"last_epoch": 3}, "epoch": 3, "scaler": {}}
    return {"model": weights, "model_ema": average, **rest}, "model", "model_ema"


def timm(weights, ema):
    rest = {"epoch": 3, "arch": "x", "optimizer": OPTIMISER, "version": 2, "metric": 0.7}
    return {"state_dict": weights, "state_dict_ema": ema, **rest}, "state_dict", "state_dict_ema"


def lightning(weights, ema):
    names = before("model.", weights) | before("ema.module.", ema)
    names["criterion.weight"] = torch.rand(5)
    rest = {"pytorch-lightning_version": "2", "loops": {}, "optimizer_states": [OPTIMISER]}
    return {"state_dict": names, **rest}, "state_dict.model", "state_dict.ema"


def lightning_callback(weights, ema):
    kept = {"EMA": {"ema_state_dict": before("net.", ema)}}
    content = {"state_dict": before("net.", weights), "callbacks": kept}
    return content, "state_dict", "callbacks.EMA.ema_state_dict"


def mmpretrain(weights, ema):
    parts = before("backbone.", {n: v for n, v in weights.items() if not n.startswith("head.")})
    parts |= before("head.fc.", {n[5:]: v for n, v in weights.items() if n.startswith("head.")})
    return {"meta": {"epoch": 3}, "state_dict": parts, "optimizer": OPTIMISER}, "state_dict", None


def hugging_face(weights, ema):
    """What its trainer writes of a model of timm."""
    return before("timm_model.", weights), "timm_model", None


def robustness(weights, ema):
    names = before("module.model.", weights) | before("module.attacker.model.", weights)
    names |= {"module.normalizer.new_mean": MEAN[0], "module.normalizer.new_std": STD[0]}
    names |= {f"module.attacker.normalize.new_{n}": v[0] for n, v in (("mean", MEAN), ("std", STD))}
    return {"model": names, "optimizer": OPTIMISER, "epoch": 3}, "model.module.model", None


def robustbench(weights, ema):
    return before("model.", weights) | {"normalize.mean": MEAN, "normalize.std": STD}, "model", None


def robustbench_buffers(weights, ema):
    return {"mu": MEAN, "sigma": STD} | dict(weights), None, None


def fastai(weights, ema):
    return {"model": weights, "opt": {"state": [{}], "hypers": [{"lr": 0.1}]}}, "model", None


def parallel(weights, ema):
    """DataParallel or DistributedDataParallel, compiled."""
    return {"net": before("_orig_mod.module.", weights), "acc": 93.1}, "net", None


def deepspeed(weights, ema):
    return {"module": weights, "dp_world_size": 1, "buffer_names": ["a"]}, "module", None


def student(weights, ema):
    return before("student.", weights) | before("teacher.", ema), "student", "teacher"


def plain(weights, ema):
    return weights, None, None


def basicsr(weights, ema):
    return {"params": weights, "params_ema": ema}, "params", "params_ema"


LAYOUTS = [
    torchvision, timm, lightning, lightning_callback, mmpretrain, hugging_face, robustness,
    robustbench, robustbench_buffers, fastai, parallel, deepspeed, student, plain, basicsr,
]  # fmt: skip
"""Each gives (content, ENTRY of the weights, ENTRY of their average, or None where none is)."""


def save(content, path):
    torch.save(content, path)


def save_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def save_protocol_4(content, path):
    torch.save(content, path, pickle_protocol=4)


def flat(content):
    """The tensors by dotted names, as formats without entries hold them."""
    names = {}
    for key, value in content.items():
        if isinstance(value, torch.Tensor):
            names[key] = value.contiguous().clone()
        elif isinstance(value, dict) and key not in ("optimizer", "opt"):
            names |= {f"{key}.{name}": v for name, v in flat(value).items()}
    return names


def save_safetensors(content, path):
    safetensors.torch.save_file(dict(sorted(flat(content).items())), path)


def save_sharded(content, path):
    """An index, and two files beside it."""
    names = flat(content)
    places = {}
    for number in (0, 1):
        part = path.with_name(f"{path.name}-{number}.safetensors")
        held = dict(list(names.items())[number::2])
        safetensors.torch.save_file(held, part)
        places |= dict.fromkeys(held, part.name)
    path.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": places}))


FORMATS = [save, save_legacy, save_protocol_4, save_safetensors, save_sharded]


def as_arrays(weights):
    return {name: value.numpy() for name, value in weights.items()}


def save_pickle(content, path):
    path.write_bytes(pickle.dumps(content))
