"""Small sets in the formats of torchvision's, for tests: made files, with the checksums they have.

Each function writes one set below `root` as it lies there once unpacked, and returns what it holds:
{"train": [(image, label)], "test": …}, in the set's own order, and the names of its classes. Where
torchvision holds files against checksums, those of the small files are put in their place.
"""

import csv
import gzip
import hashlib
import json
import pickle
import shutil
import tarfile
import zipfile

import numpy as np
import scipy.io
import torch
from PIL import Image
from torchvision import datasets
from torchvision.datasets import imagenet as imagenet_module

DIGITS = tuple(str(i) for i in range(10))


def md5(path):
    return hashlib.md5(path.read_bytes()).hexdigest()


def noise(count, *shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)


def flat(label, i):
    """One colour, which JPEG keeps: no two images have the same."""
    return np.full((20, 30, 3), (20 + 50 * label, 10 + 11 * i, 120), np.uint8)


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **({"quality": 95} if path.suffix == ".jpg" else {}))


def cifar(root, monkeypatch, *, make, key, names, train, test):
    base, found = root / make.base_folder, {}
    base.mkdir(parents=True)
    for split, files in (("train", train), ("test", test)):
        found[split] = []
        for k, name in enumerate(files):
            x, y = noise(4, 32, 32, 3, seed=(k, len(split))), [k % 2, 1, 0, 1]
            entry = {"data": x.transpose(0, 3, 1, 2).reshape(4, -1), key: y}
            (base / name).write_bytes(pickle.dumps(entry))
            found[split] += list(zip(x, y, strict=True))
        listed = [[name, md5(base / name)] for name in files]
        monkeypatch.setattr(make, f"{split}_list", listed)
    meta = base / make.meta["filename"]
    meta.write_bytes(pickle.dumps({make.meta["key"]: list(names)}))
    monkeypatch.setattr(make, "meta", {**make.meta, "md5": md5(meta)})
    return found, names


def cifar10(root, monkeypatch):
    train = [f"data_batch_{i}" for i in range(1, 6)]
    return cifar(
        root, monkeypatch, make=datasets.CIFAR10, key="labels", names=("cat", "dog"),
        train=train, test=["test_batch"],
    )  # fmt: skip


def cifar100(root, monkeypatch):
    return cifar(
        root, monkeypatch, make=datasets.CIFAR100, key="fine_labels", names=("elm", "oak"),
        train=["train"], test=["test"],
    )  # fmt: skip


def svhn(root, monkeypatch):
    found, listed = {}, dict(datasets.SVHN.split_list)
    for split in ("train", "test"):
        x, y = noise(4, 32, 32, 3, seed=len(split)), [1, 10, 10, 1]  # 10 stands for 0
        path = root / f"{split}_32x32.mat"
        root.mkdir(exist_ok=True, parents=True)
        scipy.io.savemat(path, {"X": x.transpose(1, 2, 3, 0), "y": np.array(y)[:, None]})
        listed[split] = [*listed[split][:2], md5(path)]
        found[split] = list(zip(x, [label % 10 for label in y], strict=True))
    monkeypatch.setattr(datasets.SVHN, "split_list", listed)
    return found, DIGITS


def write_idx(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    sizes = b"".join(size.to_bytes(4, "big") for size in array.shape)
    path.write_bytes(bytes([0, 0, 8, array.ndim]) + sizes + array.tobytes())


def idx(root, *, make, names=("train", "t10k"), classes=None, upright=lambda x: x):
    found = {}
    for split, name in zip(("train", "test"), names, strict=True):
        x, y = noise(6, 28, 28, seed=len(split)), np.array([1, 0, 1, 0, 0, 1], np.uint8)
        write_idx(root / make.__name__ / "raw" / f"{name}-images-idx3-ubyte", upright(x))
        write_idx(root / make.__name__ / "raw" / f"{name}-labels-idx1-ubyte", y)
        found[split] = [(np.stack([i] * 3, -1), int(label)) for i, label in zip(x, y, strict=True)]
    return found, classes or tuple(make.classes)


def mnist(root, monkeypatch):
    return idx(root, make=datasets.MNIST)


def fashionmnist(root, monkeypatch):
    return idx(root, make=datasets.FashionMNIST)


def kmnist(root, monkeypatch):
    return idx(root, make=datasets.KMNIST)


def emnist(root, monkeypatch):
    # 47: of the letters that look alike in both cases only one.
    names = (*DIGITS, *"ABCDEFGHIJKLMNOPQRSTUVWXYZ", *"abdefghnqrt")
    files = ("emnist-balanced-train", "emnist-balanced-test")
    return idx(
        root, make=datasets.EMNIST, names=files, classes=names,
        upright=lambda x: np.ascontiguousarray(x.transpose(0, 2, 1)),
    )  # fmt: skip


def stl10(root, monkeypatch):
    base, found = root / "stl10_binary", {}
    base.mkdir(parents=True)
    for split in ("train", "test"):
        x, y = noise(4, 96, 96, 3, seed=len(split)), np.array([1, 2, 2, 1], np.uint8)
        (base / f"{split}_X.bin").write_bytes(x.transpose(0, 3, 2, 1).tobytes())  # by columns
        (base / f"{split}_y.bin").write_bytes(y.tobytes())
        found[split] = [(i, int(label) - 1) for i, label in zip(x, y, strict=True)]
    (base / "unlabeled_X.bin").write_bytes(noise(1, 96, 96, 3).tobytes())
    (base / "class_names.txt").write_text("airplane\nbird\n")
    for split in ("train", "test"):
        listed = [[name, md5(base / name)] for name, _ in getattr(datasets.STL10, f"{split}_list")]
        monkeypatch.setattr(datasets.STL10, f"{split}_list", listed)
    return found, ("airplane", "bird")


def omniglot(root, monkeypatch):
    base, found = root / "omniglot-py" / "images_background", {"train": [], "test": []}
    names = ("Greek, character01", "Greek, character02", "Latin, character01")
    for label, name in enumerate(names):
        for drawer in range(1, 21):
            image = np.full((105, 105), 10 * drawer + label, np.uint8)
            save(base.joinpath(*name.split(", ")) / f"07{label}_{drawer:02d}.png", image)
            found["train" if drawer <= 14 else "test"].append((np.stack([image] * 3, -1), label))
    archive = base.with_suffix(".zip")
    pack(archive, base.parent, ["images_background"])
    sums = {**datasets.Omniglot.zips_md5, "images_background": md5(archive)}
    monkeypatch.setattr(datasets.Omniglot, "zips_md5", sums)
    return found, names


def gtsrb(root, monkeypatch):
    base, found, rows = root / "gtsrb", {"train": [], "test": []}, []
    for label in range(3):
        for i in range(2 + label):
            save(base / "GTSRB" / "Training" / f"{label:05d}" / f"{i:05d}.ppm", flat(label, i))
            found["train"].append((flat(label, i), label))
        name = f"{7 - label:05d}.ppm"
        save(base / "GTSRB" / "Final_Test" / "Images" / name, flat(label, 9))
        rows.append({"Filename": name, "Width": 30, "Height": 20, "ClassId": label})
        found["test"].append((flat(label, 9), label))
    with (base / "GT-final_test.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], delimiter=";")
        writer.writeheader()
        writer.writerows(rows)
    return found, tuple(str(i) for i in range(43))


def undivided(base, names, pattern):
    """Ten images a class, of which three are kept for testing: which, is not said."""
    found = []
    for label, name in enumerate(names):
        for i in range(10):
            save(base / name / pattern.format(name=name, i=i + 1), flat(label, i))
            found.append((flat(label, i), label))
    return {"whole": found}, names


def eurosat(root, monkeypatch):
    return undivided(root / "eurosat" / "2750", ("Forest", "River"), "{name}_{i}.jpg")


def caltech101(root, monkeypatch):
    base = root / "caltech101" / "101_ObjectCategories"
    save(base / "BACKGROUND_Google" / "image_0001.jpg", flat(4, 19))
    return undivided(base, ("Faces", "ant"), "image_{i:04d}.jpg")


def dtd(root, monkeypatch):
    base, found, lines = root / "dtd" / "dtd", {"train": [], "test": []}, {}
    for s, part in enumerate(("train", "val", "test")):
        lines[part] = []
        for label, name in ((1, "dotted"), (0, "banded")):
            image = flat(label, s)
            save(base / "images" / name / f"{name}_{s}.jpg", image)
            found["test" if part == "test" else "train"].append((image, label))
            lines[part].append(f"{name}/{name}_{s}.jpg")
    (base / "labels").mkdir()
    for part, names in lines.items():
        (base / "labels" / f"{part}1.txt").write_text("\n".join(names) + "\n")
    return found, ("banded", "dotted")


def flowers102(root, monkeypatch):
    base = root / "flowers-102"
    labels, ids = [1, 2, 102, 1, 2, 102, 1, 2, 102], {"trnid": [1, 3, 2], "valid": [5, 4, 6]}
    ids["tstid"] = [9, 8, 7]
    for i, label in enumerate(labels, start=1):
        save(base / "jpg" / f"image_{i:05d}.jpg", flat(label % 4, i))
    scipy.io.savemat(base / "imagelabels.mat", {"labels": np.array([labels])})
    scipy.io.savemat(base / "setid.mat", {k: np.array([v]) for k, v in ids.items()})
    sums = {
        key: (name, md5(base / name) if (base / name).is_file() else known)
        for key, (name, known) in datasets.Flowers102._file_dict.items()
    }
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", sums)

    def part(*names):
        return [
            (flat(labels[i - 1] % 4, i), labels[i - 1] - 1) for name in names for i in ids[name]
        ]

    found = {"train": part("trnid", "valid"), "test": part("tstid")}
    return found, tuple(getattr(datasets.Flowers102, "classes", map(str, range(1, 103))))


def oxfordiiitpet(root, monkeypatch):
    base, found = root / "oxford-iiit-pet", {}
    (base / "annotations").mkdir(parents=True)
    for s, (ours, theirs) in enumerate((("train", "trainval"), ("test", "test"))):
        lines, found[ours] = [], []
        for label, name in enumerate(("Abyssinian", "great_dane")):
            for i in range(3):
                number = 10 * s + i
                save(base / "images" / f"{name}_{number}.jpg", flat(label, number))
                lines.append(f"{name}_{number} {label + 1} {label + 1} 1")
                found[ours].append((flat(label, number), label))
        (base / "annotations" / f"{theirs}.txt").write_text("\n".join(lines) + "\n")
    return found, ("Abyssinian", "Great Dane")


def food101(root, monkeypatch):
    base, found = root / "food-101", {}
    (base / "meta").mkdir(parents=True)
    for s, split in enumerate(("train", "test")):
        found[split], listed = [], {}
        for label, name in ((1, "waffles"), (0, "apple_pie")):
            numbers = [5 * s + i for i in range(4)]
            listed[name] = [f"{name}/{i}" for i in numbers]
            for i in numbers:
                save(base / "images" / name / f"{i}.jpg", flat(label, i))
                found[split].append((flat(label, i), label))
        (base / "meta" / f"{split}.json").write_text(json.dumps(listed))
    return found, ("apple_pie", "waffles")


WNIDS = {"n01440764": ("tench", "Tinca tinca"), "n02012849": ("crane",), "n03126707": ("crane",)}


def imagenet(root, monkeypatch):
    found, truth = {"train": [], "test": []}, []
    for label, wnid in enumerate(WNIDS):
        for i in range(2):
            save(root / "train" / wnid / f"{wnid}_{i}.JPEG", flat(label, i))
            found["train"].append((flat(label, i), label))
        name = f"ILSVRC2012_val_{label + 1:08d}.JPEG"
        save(root / "val" / wnid / name, flat(label, 5))
        found["test"].append((flat(label, 5), label))
        truth.append(wnid)
    torch.save((WNIDS, truth), root / "meta.bin")
    return found, ("tench, Tinca tinca", "crane (n02012849)", "crane (n03126707)")


SETS = (
    cifar10, cifar100, svhn, mnist, fashionmnist, kmnist, emnist, omniglot, stl10, gtsrb, eurosat,
    dtd, flowers102, oxfordiiitpet, food101, caltech101, imagenet,
)  # fmt: skip


# The same sets as their archives.


def pack(archive, base, members):
    """Pack folders and files below `base`, and leave them there."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive, "w") as file:
            for member in members:
                tree = sorted((base / member).rglob("*"))
                for path in tree or [base / member]:
                    file.write(path, path.relative_to(base))
        return
    with tarfile.open(archive, "w" if archive.suffix == ".tar" else "w:gz") as file:
        for member in members:
            file.add(base / member, member)


CONTENTS = {
    "cifar-10-python.tar.gz": ["cifar-10-batches-py"],
    "cifar-100-python.tar.gz": ["cifar-100-python"],
    "train_32x32.mat": [], "test_32x32.mat": [],
    "omniglot-py/images_background.zip": ["images_background"],
    "stl10_binary.tar.gz": ["stl10_binary"],
    "gtsrb/GTSRB-Training_fixed.zip": ["GTSRB/Training"],
    "gtsrb/GTSRB_Final_Test_Images.zip": ["GTSRB/Final_Test"],
    "gtsrb/GTSRB_Final_Test_GT.zip": ["GT-final_test.csv"],
    "eurosat/EuroSAT.zip": ["2750"],
    "dtd/dtd-r1.0.1.tar.gz": ["dtd"],
    "flowers-102/102flowers.tgz": ["jpg"],
    "flowers-102/imagelabels.mat": [], "flowers-102/setid.mat": [],
    "oxford-iiit-pet/images.tar.gz": ["images"],
    "oxford-iiit-pet/annotations.tar.gz": ["annotations"],
    "food-101.tar.gz": ["food-101"],
}  # fmt: skip
"""What the archives hold, below the folder they lie in; what is no archive holds nothing."""


def lay_archives(source, root, files):
    """Make the archives `files` below `root` of a set that lies unpacked in `source`."""
    for name in files:
        target, base = root / name, (source / name).parent
        target.parent.mkdir(parents=True, exist_ok=True)
        if name == "EMNIST/raw/gzip.zip":
            for path in base.iterdir():
                (source / "gzip").mkdir(exist_ok=True)
                (source / "gzip" / f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes()))
            pack(target, source, ["gzip"])
        elif name.endswith("ubyte.gz"):
            target.write_bytes(gzip.compress((source / name).with_suffix("").read_bytes()))
        elif (source / name).is_dir():
            shutil.copytree(source / name, target)
        elif name.startswith("ILSVRC"):
            _lay_imagenet(source, target)
        elif CONTENTS[name]:
            pack(target, base, CONTENTS[name])
        else:
            shutil.copy(source / name, target)


def _lay_imagenet(source, target):
    """Write one of ImageNet's archives: the images a tar of tars, the kit a table of classes."""
    scratch = source / target.name.split(".")[0]
    scratch.mkdir()
    if "train" in target.name:
        for wnid in WNIDS:
            images = sorted(path.name for path in (source / "train" / wnid).iterdir())
            pack(scratch / f"{wnid}.tar", source / "train" / wnid, images)
        pack(target, scratch, sorted(path.name for path in scratch.iterdir()))
    elif "val" in target.name:
        for path in (source / "val").rglob("*.JPEG"):
            shutil.copy(path, scratch)
        pack(target, scratch, sorted(path.name for path in scratch.iterdir()))
    else:
        kit = scratch / "ILSVRC2012_devkit_t12" / "data"
        kit.mkdir(parents=True)
        kinds = [("ILSVRC2012_ID", "i4"), ("WNID", "O"), ("words", "O"), ("gloss", "O")]
        rows = [(i + 1, w, ", ".join(n), "", 0) for i, (w, n) in enumerate(WNIDS.items())]
        rows.append((4, "n00001740", "entity", "", 3))  # has children, so it is no class
        table = np.array(rows, dtype=[*kinds, ("num_children", "i4")])
        scipy.io.savemat(kit / "meta.mat", {"synsets": table[:, None]})
        (kit / "ILSVRC2012_validation_ground_truth.txt").write_text("1\n2\n3\n")
        pack(target, scratch, ["ILSVRC2012_devkit_t12"])


def believe_archives(monkeypatch):
    """Let torchvision take any archive for the one it knows; what it unpacks, it still checks."""
    monkeypatch.setattr("torchvision.datasets.utils.check_md5", lambda path, md5, **_: True)
    assert imagenet_module.check_integrity.__module__ == "torchvision.datasets.utils"
